"""Change the email address that businesses have on file for a person. Confirmed from the new address; the old one is notified.

The link works only in the requesting browser, with the same person signed in. The new address is also added to the account:
records are found by address, so the person would otherwise no longer see them. Portal link sessions cannot do this.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select

from auth import account_emails, challenges, portal_links
from auth.challenges import ChallengeRequest
from auth.models import Challenge, IdentityEmail
from auth.sessions import Visit
from billing.customers.change_own_email import change_own_email
from billing.model.email_address import clean_address
from core import clock, ids
from core.db import Database
from core.errors import N_, Conflict, Forbidden, Invalid, Unauthorized
from core.scope import Actor, Pair, everything
from core.settings import Settings
from core.transaction_retry import retried


def request_change(
    database: Database,
    settings: Settings,
    visit: Visit,
    email: str,
    customers: Iterable[Pair],
    *,
    browser: str,
    source: str | None,
    device: str,
    locale: str,
    next: str,
) -> datetime | None:
    """Email the new address. Returns when the email is due, or None if a rate limit is used up.

    The response does not reveal who has the address. Raises Invalid (email, to).
    """
    _require_person(visit)
    chosen = [list(customer) for customer in customers]
    if not chosen:
        raise Invalid(fields={"to": N_("Choose at least one business.")})
    clean_email, key = clean_address(email)
    return challenges.request_challenge(
        database,
        settings,
        ChallengeRequest(
            email=clean_email,
            address_key=key,
            browser=browser,
            source=source,
            device=device,
            locale=locale,
            next=next,
            purpose="change_email",
            identity_id=visit.identity_id,
            joins={"customers": chosen},
        ),
    )


@retried
def confirm(database: Database, challenge: Challenge, visit: Visit | None) -> None:
    """Redeem the link: change the chosen customers that this session's addresses still find.

    Raises Forbidden in another session, Conflict (LINK_USED; ADDRESS_TAKEN if the new address has another account).
    """
    if visit is None or visit.identity_id is None or visit.identity_id != challenge.identity_id:
        raise Forbidden(
            "WRONG_SESSION", N_("Open this link in the browser where you asked to change the address, and stay signed in there.")
        )
    _require_person(visit)
    actor = Actor("customer", visit.identity_id)
    with database.open(everything("change a person's address at businesses"), write=True) as db:
        if not challenges.consume(db, challenge):
            raise Conflict("LINK_USED", N_("This link was already used."))
        existing = db.scalar(select(IdentityEmail).where(IdentityEmail.email_key == challenge.address_key).with_for_update())
        if existing is not None and existing.identity_id != visit.identity_id:
            raise Conflict("ADDRESS_TAKEN", N_("This address has its own account. Add it under “Your email addresses” first."))
        if existing is None:
            db.add(
                IdentityEmail(
                    identity_id=visit.identity_id,
                    id=ids.new_id("eml"),
                    email=challenge.email,
                    email_key=challenge.address_key,
                    is_primary=False,
                    verified_at=clock.wall(),
                )
            )
            db.flush()
        customers = [(str(business), str(customer)) for business, customer in (challenge.joins or {}).get("customers", [])]
        changed = change_own_email(db, customers, visit.addresses, challenge.email, challenge.address_key, actor)
        if changed:
            for business_id, customer_id in customers:  # links in the old mailbox must no longer work
                portal_links.revoke_mailed(db, business_id, customer_id, before=clock.wall())
            account_emails.notify_identity(
                db, visit.identity_id, "email_changed", f"{', '.join(dict.fromkeys(changed))}: {challenge.email}"
            )


def _require_person(visit: Visit) -> None:
    if visit.identity_id is None or visit.link is not None:
        raise Unauthorized()
    if len(visit.addresses) < len(visit.emails):
        raise Forbidden("PROOF_NEEDED", N_("Sign in with your main address first."))
