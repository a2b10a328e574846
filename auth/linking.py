"""More than one address: a person adds one (proved by a letter), names the main one, or gives one up; never the last."""

from __future__ import annotations

from sqlalchemy import delete, func, select, update

from auth import challenges
from auth.challenges import Asking
from auth.models import BrowserSession, Challenge, Grant, IdentityEmail
from auth.providers.models import ProviderLogin
from auth.sessions import Visit
from billing.addresses import clean_address
from core import clock, ids
from core.db import Database, ScopedSession
from core.errors import Conflict, Forbidden, NotFound, Unauthorized
from core.outbox import emit
from core.scope import Actor, everything
from core.settings import Settings

_QUIETLY = {"synchronize_session": False}


def ask_to_add(
    database: Database, settings: Settings, visit: Visit, email: str, *, browser: str, source: str | None, device: str, locale: str,
    next: str = "/profile",
) -> bool:
    """Send a letter to a further address of this person. Raises Invalid for what is no address; otherwise always the same.

    `browser` is `cookies.browser(settings)`, kept on the answer: the letter works in this browser only.
    """
    _needs_primary(visit)
    written, key = clean_address(email)
    return challenges.ask(database, settings, Asking(
        email=written, address_key=key, browser=browser, source=source, device=device, locale=locale, next=next,
        purpose="add_address", identity_id=visit.identity_id,
    ))


def add(database: Database, settings: Settings, challenge: Challenge, visit: Visit | None) -> None:
    """Redeem: the address joins the person who asked, in the browser where they asked and are still signed in.

    An address that was a person of its own brings its history; raises Conflict when it is the main one of several.
    """
    if visit is None or visit.identity_id is None or visit.identity_id != challenge.identity_id:
        raise Forbidden("WRONG_SESSION", "Open this link in the browser where you asked to add the address, signed in as before.")
    _needs_primary(visit)
    with database.open(everything("add an address"), write=True) as db:
        if not challenges.consume(db, challenge):
            raise Conflict("LINK_USED", "This link was used already.")
        held = db.scalar(select(IdentityEmail).where(IdentityEmail.email_key == challenge.address_key).with_for_update())
        if held is not None and held.identity_id == visit.identity_id:
            return
        if held is not None:
            others = db.scalar(select(func.count(IdentityEmail.id)).where(IdentityEmail.identity_id == held.identity_id)) or 0
            if held.is_primary and others > 1:
                raise Conflict("ADDRESS_IS_PRIMARY", "This is the main address of another account. Sign in there and name another one.")
            _leaves(db, held.identity_id, held.email_key)
            db.delete(held)
            db.flush()
        db.add(IdentityEmail(
            identity_id=visit.identity_id, id=ids.new_id("eml"), email=challenge.email, email_key=challenge.address_key,
            is_primary=False, verified_at=clock.wall(),
        ))
        _tell(db, visit, "added", challenge.email)


def remove(database: Database, visit: Visit, address_key: str) -> None:
    """Give an address up: its sessions and challenges end. Never the last, and the main one only after another was named."""
    _needs_primary(visit)
    with database.open(everything("remove an address"), write=True) as db:
        row = _own(db, visit, address_key)
        if row.is_primary:
            raise Conflict("ADDRESS_IS_PRIMARY", "This is your main address. Name another one first.")
        _leaves(db, row.identity_id, address_key)
        _tell(db, visit, "removed", row.email)
        db.delete(row)


def make_primary(database: Database, visit: Visit, address_key: str) -> None:
    """The main address opens everything; the others their own rows until a second proof."""
    _needs_primary(visit)
    with database.open(everything("name the main address"), write=True) as db:
        row = _own(db, visit, address_key)
        db.execute(update(IdentityEmail).where(IdentityEmail.identity_id == visit.identity_id).values(is_primary=False),
                   execution_options=_QUIETLY)
        db.execute(update(IdentityEmail).where(IdentityEmail.identity_id == visit.identity_id, IdentityEmail.id == row.id)
                   .values(is_primary=True), execution_options=_QUIETLY)
        # this session proved the old main address; it goes on opening everything
        has_proof = db.scalar(select(Grant.id).where(
            Grant.session_id == visit.session_id, Grant.door == "unified", Grant.address_key == address_key, Grant.revoked_at.is_(None)))
        if has_proof is None:
            newest = max((one for one in visit.grants if one.door == "unified"), key=lambda one: one.proved_at)
            db.add(Grant(id=ids.new_id("gra"), session_id=visit.session_id, door="unified", proof=newest.proof, address_key=address_key,
                         proved_at=newest.proved_at, expires_at=newest.expires_at))
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


def _leaves(db: ScopedSession, identity_id: str, address_key: str) -> None:
    """An address leaves a person: what it proved for that person ends, and so do letters on their way."""
    at = clock.wall()
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
