"""The address that businesses know a person by, changed by that person: confirmed from the new address, told to the old.

The letter's link works in the browser that asked, signed in as who asked. The new address joins the account with it, for
records are found by address: else the change would take them out of the person's own sight. A business's link never comes here.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select

from auth import challenges, links, notices
from auth.challenges import Asking
from auth.models import Challenge, IdentityEmail
from auth.sessions import Visit
from billing.addresses import clean_address
from billing.commands.own_email import change_own_email
from core import clock, ids
from core.conflicts import retried
from core.db import Database
from core.errors import Conflict, Forbidden, Invalid, Unauthorized
from core.scope import Actor, Pair, everything
from core.settings import Settings


def ask(database: Database, settings: Settings, visit: Visit, email: str, customers: Iterable[Pair], *, browser: str, source: str | None,
        device: str, locale: str, next: str) -> datetime | None:
    """Send an email to the new address; returns when it is due, None where a budget is used up. The answer is the same whoever the
    address belongs to. Raises Invalid (email, to)."""
    _person(visit)
    wanted = [list(one) for one in customers]
    if not wanted:
        raise Invalid(fields={"to": "Choose at least one business."})
    written, key = clean_address(email)
    return challenges.ask(database, settings, Asking(
        email=written, address_key=key, browser=browser, source=source, device=device, locale=locale, next=next,
        purpose="change_email", identity_id=visit.identity_id, joins={"customers": wanted},
    ))


@retried
def confirm(database: Database, challenge: Challenge, visit: Visit | None) -> None:
    """Redeem: what was ticked is changed where it is still found by an address that this session opens.

    Raises Forbidden in another session, Conflict (LINK_USED, ADDRESS_TAKEN when the new address has another account).
    """
    if visit is None or visit.identity_id is None or visit.identity_id != challenge.identity_id:
        raise Forbidden("WRONG_SESSION", "Open this link in the browser where you asked to change the address, signed in as before.")
    _person(visit)
    actor = Actor("customer", visit.identity_id)
    with database.open(everything("a person changes their address at businesses"), write=True) as db:
        if not challenges.consume(db, challenge):
            raise Conflict("LINK_USED", "This link was used already.")
        held = db.scalar(select(IdentityEmail).where(IdentityEmail.email_key == challenge.address_key).with_for_update())
        if held is not None and held.identity_id != visit.identity_id:
            raise Conflict("ADDRESS_TAKEN", "This address has an account of its own. Add it under “Your addresses” first.")
        if held is None:
            db.add(IdentityEmail(
                identity_id=visit.identity_id, id=ids.new_id("eml"), email=challenge.email, email_key=challenge.address_key,
                is_primary=False, verified_at=clock.wall()))
            db.flush()
        customers = [(str(business), str(customer)) for business, customer in (challenge.joins or {}).get("customers", [])]
        changed = change_own_email(db, customers, visit.addresses, challenge.email, challenge.address_key, actor)
        if changed:
            for business_id, customer_id in customers:  # what lies in the old mailbox opens nothing any more
                links.revoke_mailed(db, business_id, customer_id, before=clock.wall())
            notices.tell(db, visit.identity_id, "email_changed", f"{', '.join(dict.fromkeys(changed))}: {challenge.email}")


def _person(visit: Visit) -> None:
    if visit.identity_id is None or visit.link is not None:
        raise Unauthorized()
    if len(visit.addresses) < len(visit.emails):
        raise Forbidden("PROOF_NEEDED", "Sign in with your main address first.")
