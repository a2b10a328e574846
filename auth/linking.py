"""More than one address: a person adds one (proved by a letter), names the main one, or gives one up; never the last."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select, update

from auth import challenges, exports, merging
from auth.challenges import Asking
from auth.locking import lock_people
from auth.models import BrowserSession, Challenge, Grant, IdentityEmail
from auth.providers.models import ProviderLogin
from auth.sessions import Visit
from billing.addresses import clean_address
from core import clock, ids
from core.conflicts import retried
from core.db import Database, ScopedSession
from core.errors import Conflict, Forbidden, NotFound, Unauthorized
from core.outbox import emit
from core.scope import Actor, everything
from core.settings import Settings

_QUIETLY = {"synchronize_session": False}


def ask_to_add(
    database: Database, settings: Settings, visit: Visit, email: str, *, browser: str, source: str | None, device: str, locale: str,
    next: str = "/profile",
) -> datetime | None:
    """Send an email to a further address of this person; returns when it is due, None where a budget is used up. Raises Invalid for
    what is no address; otherwise always the same.

    `browser` is `cookies.browser(settings)`, kept on the answer: the letter works in this browser only.
    """
    _needs_primary(visit)
    written, key = clean_address(email)
    return challenges.ask(database, settings, Asking(
        email=written, address_key=key, browser=browser, source=source, device=device, locale=locale, next=next,
        purpose="add_address", identity_id=visit.identity_id,
    ))


@retried
def add(database: Database, settings: Settings, challenge: Challenge, visit: Visit | None) -> str | None:
    """Redeem: the address joins the person who asked, in the browser where they asked and are still signed in.

    An address that has an account already changes nothing yet: returns the id of the merge that both sides are asked about.
    """
    if visit is None or visit.identity_id is None or visit.identity_id != challenge.identity_id:
        raise Forbidden("WRONG_SESSION", "Open this link in the browser where you asked to add the address, signed in as before.")
    _needs_primary(visit)
    with database.open(everything("add an address"), write=True) as db:
        lock_people(db, visit.identity_id)
        if not challenges.consume(db, challenge):
            raise Conflict("LINK_USED", "This link was used already.")
        held = db.scalar(select(IdentityEmail).where(IdentityEmail.email_key == challenge.address_key).with_for_update())
        if held is None:
            _join(db, visit, challenge.email, challenge.address_key)
        elif held.identity_id != visit.identity_id:
            return merging.begin(db, visit.identity_id, held)
    return None


@retried
def take(database: Database, visit: Visit, merge_id: str) -> None:
    """One address that is not the main one of its account moves, and nothing else of that account. Raises NotFound."""
    _needs_primary(visit)
    asked = merging.movable(database, visit, merge_id)
    with database.open(everything("an address changes hands"), write=True) as db:
        lock_people(db, visit.identity_id, asked.from_id)
        held = db.scalar(select(IdentityEmail).where(
            IdentityEmail.identity_id == asked.from_id, IdentityEmail.email_key == asked.email_key, IdentityEmail.is_primary.is_(False),
        ).with_for_update())
        if held is None:
            raise NotFound()
        theirs = list(db.scalars(select(IdentityEmail.email).where(IdentityEmail.identity_id == asked.from_id)))
        emit(db, "auth.addresses_changed", noun=asked.from_id, actor=Actor("customer", visit.identity_id),
             data={"what": "removed", "address": held.email, "to": theirs, "locale": visit.locale})
        _leaves(db, held)
        db.execute(update(merging.Merge).where(merging.Merge.id == merge_id).values(ended_at=clock.wall()), execution_options=_QUIETLY)
        _join(db, visit, asked.email, asked.email_key)


@retried
def remove(database: Database, visit: Visit, address_key: str) -> None:
    """Give an address up: its sessions and challenges end. Never the last, and the main one only after another was named."""
    _needs_primary(visit)
    with database.open(everything("remove an address"), write=True) as db:
        lock_people(db, visit.identity_id)
        row = _own(db, visit, address_key)
        if row.is_primary:
            raise Conflict("ADDRESS_IS_PRIMARY", "This is your main address. Name another one first.")
        _tell(db, visit, "removed", row.email)
        _leaves(db, row)


@retried
def make_primary(database: Database, visit: Visit, address_key: str) -> None:
    """The main address opens everything; the others their own rows until a second proof."""
    _needs_primary(visit)
    with database.open(everything("name the main address"), write=True) as db:
        lock_people(db, visit.identity_id)
        row = _own(db, visit, address_key)
        db.execute(update(IdentityEmail).where(IdentityEmail.identity_id == visit.identity_id).values(is_primary=False),
                   execution_options=_QUIETLY)
        db.execute(update(IdentityEmail).where(IdentityEmail.identity_id == visit.identity_id, IdentityEmail.id == row.id)
                   .values(is_primary=True), execution_options=_QUIETLY)
        # this session proved the old main address; it goes on opening everything
        has_proof = db.scalar(select(Grant.id).where(
            Grant.session_id == visit.session_id, Grant.door == "unified", Grant.address_key == address_key, Grant.revoked_at.is_(None)))
        if has_proof is None:
            proved = max((one for one in visit.grants if one.door == "unified"), key=lambda one: one.proved_at)
            newest = db.scalars(select(Grant).where(Grant.id == proved.id)).one()
            db.add(Grant(id=ids.new_id("gra"), session_id=visit.session_id, door="unified", proof=newest.proof, address_key=address_key,
                         proved_at=newest.proved_at, expires_at=newest.expires_at, party=newest.party,
                         party_session=newest.party_session, party_subject=newest.party_subject,  # its provider's logout ends it too,
                         passkey_id=newest.passkey_id))  # and so does removing its passkey
        _tell(db, visit, "main", row.email)


def _needs_primary(visit: Visit) -> None:
    """Addresses are the keys to everything: only a session that opens everything may change them."""
    if visit.identity_id is None or visit.link is not None:
        raise Unauthorized()
    if len(visit.addresses) < len(visit.emails):
        raise Forbidden("PROOF_NEEDED", "Sign in with your main address first.")


def _own(db: ScopedSession, visit: Visit, address_key: str) -> IdentityEmail:
    row = db.scalar(select(IdentityEmail).where(IdentityEmail.identity_id == visit.identity_id, IdentityEmail.email_key == address_key))
    if row is None:
        raise NotFound()
    return row


def _tell(db: ScopedSession, visit: Visit, what: str, email: str) -> None:
    """Every address of the person hears of it, also the one that goes."""
    to = dict.fromkeys([*(written for written, _, _ in visit.emails), email])
    emit(db, "auth.addresses_changed", noun=visit.identity_id, actor=Actor("customer", visit.identity_id),
         data={"what": what, "address": email, "to": list(to), "locale": visit.locale})


def _join(db: ScopedSession, visit: Visit, email: str, address_key: str) -> None:
    db.add(IdentityEmail(
        identity_id=visit.identity_id, id=ids.new_id("eml"), email=email, email_key=address_key, is_primary=False, verified_at=clock.wall(),
    ))
    _tell(db, visit, "added", email)


def _leaves(db: ScopedSession, row: IdentityEmail) -> None:
    """An address leaves a person: what it proved for that person ends, and so do letters on their way."""
    at, identity_id, address_key, came_from = clock.wall(), row.identity_id, row.email_key, row.came_from
    db.execute(delete(ProviderLogin).where(ProviderLogin.identity_id == identity_id, ProviderLogin.address_key == address_key),
               execution_options=_QUIETLY)  # what was joined by this address alone goes with it
    theirs = select(BrowserSession.id).where(BrowserSession.identity_id == identity_id)
    proved = list(db.scalars(select(Grant.session_id).where(
        Grant.session_id.in_(theirs), Grant.address_key == address_key, Grant.revoked_at.is_(None))))
    db.execute(update(BrowserSession).where(BrowserSession.id.in_(proved)).values(revoked_at=at), execution_options=_QUIETLY)
    db.execute(
        update(Challenge).where(Challenge.address_key == address_key, Challenge.used_at.is_(None), Challenge.revoked_at.is_(None))
        .values(revoked_at=at), execution_options=_QUIETLY,
    )
    exports.forget(db, identity_id)  # a copy that was made holds what this address opened
    db.delete(row)
    db.flush()
    merging.forget_company(db, identity_id, came_from)
