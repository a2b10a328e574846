"""Signing in and out: what turns a proof into a session row, and what ends one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, exists, or_, select, update

from auth import challenges, notices, tokens
from auth.identities import identity_of
from auth.models import BrowserSession, Challenge, DynamicLink, Grant
from auth.sessions import IDLE, LIFE, LINK_LIFE, Visit
from core import clock, ids
from core.conflicts import retried
from core.db import Database, ScopedSession
from core.scope import everything
from core.settings import Settings

_QUIETLY = {"synchronize_session": False}
Joins = Callable[[ScopedSession, str], None]


@dataclass(frozen=True)
class SessionRow:
    """A line of "where you are signed in"."""

    id: str
    device: str
    created_at: datetime
    last_seen_at: datetime
    proof: str | None
    is_here: bool


@retried
def sign_in(database: Database, settings: Settings, challenge: Challenge, before: Visit | None, device: str,
            is_known: bool = True, joins: Joins | None = None) -> str | None:
    """Use up the challenge and open a new session; returns the cookie's secret, or None when the challenge was used up.

    `joins(db, identity_id)`: what else this proof does, in the same transaction."""
    with database.open(everything("first proof"), write=True) as db:
        if not challenges.consume(db, challenge):
            return None
        identity_id = identity_of(db, challenge.email, challenge.address_key)
        if joins is not None:
            joins(db, identity_id)
        return open_session(db, settings, identity_id, before, device, proof="email", address_key=challenge.address_key, is_known=is_known)


def open_session(db: ScopedSession, settings: Settings, identity_id: str, before: Visit | None, device: str, *, proof: str,
                 address_key: str | None, is_known: bool, grant: dict[str, Any] | None = None, proved_at: datetime | None = None) -> str:
    """A new session of a proved person, in the caller's transaction (everything()); returns the cookie's secret.

    `address_key`: what the proof opens (safety 2.2); None is the whole person (passkeys, providers joined by the main address).
    `grant`: further columns of the grant; `proved_at`: when it was proved, where that was before. Merchant's grants of this
    browser move along unless somebody else was signed in; the old row ends. A browser that is not known is told of to the person
    who was signed in elsewhere before.
    """
    secret, at = ids.secret_token(), clock.wall()
    proved = min(proved_at or at, at)
    if not is_known and db.scalar(select(BrowserSession.id).where(BrowserSession.identity_id == identity_id).limit(1)):
        notices.tell(db, identity_id, "device", device)
    session = BrowserSession(
        id=ids.new_id("ses"), secret_hash=tokens.hashed(settings, "session", secret), identity_id=identity_id, device=device,
        created_at=at, last_seen_at=at, expires_at=at + LIFE, proved_at=proved, proof=proof,
    )
    db.add(session)
    db.flush()
    if before is not None:
        _move(db, before, session, identity_id)
    db.add(Grant(
        id=ids.new_id("gra"), session_id=session.id, door="unified", proof=proof, address_key=address_key,
        proved_at=proved, expires_at=at + LIFE, **(grant or {}),
    ))
    return secret


@retried
def add_link_grant(database: Database, settings: Settings, link: DynamicLink, before: Visit | None, device: str) -> tuple[bool, str | None]:
    """Use up a merchant's link and let this browser see that one customer. (done, the secret for the cookie)."""
    at = clock.wall()
    with database.open(everything("redeem a merchant's link"), write=True) as db:
        used = db.execute(
            update(DynamicLink).where(
                DynamicLink.id == link.id, DynamicLink.used_at.is_(None), DynamicLink.revoked_at.is_(None), DynamicLink.expires_at > at
            ).values(used_at=at), execution_options=_QUIETLY,
        )
        if used.rowcount != 1:  # type: ignore[attr-defined]
            return False, None
        secret = grant_business(db, settings, before, device, business_id=link.business_id, customer_id=link.customer_id, proof="link",
                                life=LINK_LIFE, link_id=link.id, return_url=link.return_url)
    return True, secret


def grant_business(db: ScopedSession, settings: Settings, before: Visit | None, device: str, *, business_id: str, customer_id: str,
                   proof: str, life: timedelta, **more: Any) -> str:
    """Let this browser see one customer of one business, on the business's word; returns the secret for the cookie, always a new one.

    Never replaces, joins or raises the person who may be signed in here. `more`: further columns of the grant.
    """
    at = clock.wall()
    if before is None:
        secret = ids.secret_token()
        session_id = ids.new_id("ses")
        db.add(BrowserSession(
            id=session_id, secret_hash=tokens.hashed(settings, "session", secret), identity_id=None, device=device,
            created_at=at, last_seen_at=at, expires_at=at + life,
        ))
        db.flush()
    else:
        session_id = before.session_id
        secret = new_reference(db, settings, session_id)
        if before.identity_id is None:  # nobody is signed in: the row lives as long as its newest grant
            db.execute(update(BrowserSession).where(BrowserSession.id == session_id).values(expires_at=at + life),
                       execution_options=_QUIETLY)
    db.add(Grant(
        id=ids.new_id("gra"), session_id=session_id, door="business", business_id=business_id, customer_id=customer_id, proof=proof,
        proved_at=at, expires_at=at + life, **more,
    ))
    return secret


def new_reference(db: ScopedSession, settings: Settings, session_id: str) -> str:
    """Another secret for a session that opens more from now on, so that nobody who knew the one before comes along. Put it into
    the cookie."""
    secret = ids.secret_token()
    db.execute(update(BrowserSession).where(BrowserSession.id == session_id)
               .values(secret_hash=tokens.hashed(settings, "session", secret)), execution_options=_QUIETLY)
    return secret


def renew_reference(database: Database, settings: Settings, visit: Visit) -> str:
    """`new_reference` in a transaction of its own, after a command by which this visit opens more."""
    with database.open(everything("a session opens more"), write=True) as db:
        return new_reference(db, settings, visit.session_id)


@retried
def sign_out(database: Database, visit: Visit, business_id: str | None = None) -> bool:
    """End this browser's session; at a business's door that goes by a merchant's link, that link's grants only.

    True when the whole session ended (the cookie can go).
    """
    at = clock.wall()
    links = [one for one in visit.grants if one.door == "business" and one.business_id == business_id]
    rest = [one for one in visit.grants if one not in links]
    only_link = bool(business_id and links and rest and (visit.link is not None or not visit.is_person))
    with database.open(everything("sign out"), write=True) as db:
        if only_link:
            db.execute(update(Grant).where(Grant.id.in_([one.id for one in links])).values(revoked_at=at), execution_options=_QUIETLY)
            return False
        db.execute(update(BrowserSession).where(BrowserSession.id == visit.session_id).values(revoked_at=at), execution_options=_QUIETLY)
    return True


def sessions_of(database: Database, visit: Visit) -> list[SessionRow]:
    """Where this person is signed in, newest first. Nothing where only a merchant vouched."""
    if visit.identity_id is None:
        return []
    at = clock.wall()
    still = exists().where(Grant.session_id == BrowserSession.id, Grant.door == "unified", Grant.revoked_at.is_(None),
                           Grant.expires_at > at)
    query = select(BrowserSession).where(*_theirs(visit), BrowserSession.expires_at > at, BrowserSession.last_seen_at > at - IDLE, still)
    with database.open(everything("a person's own sessions")) as db:
        return [
            SessionRow(s.id, s.device, s.created_at, s.last_seen_at, s.proof, s.id == visit.session_id)
            for s in db.scalars(query.order_by(BrowserSession.last_seen_at.desc()))
        ]


def end_one(database: Database, visit: Visit, session_id: str) -> bool:
    """End one of this person's own sessions. False when there is none by that id."""
    return _end(database, visit, BrowserSession.id == session_id) == 1


def end_all(database: Database, visit: Visit, *, keep_here: bool = False) -> int:
    """Sign out everywhere; `keep_here` spares this browser. Returns how many ended."""
    return _end(database, visit, BrowserSession.id != visit.session_id) if keep_here else _end(database, visit)


@retried
def _end(database: Database, visit: Visit, *which) -> int:  # type: ignore[no-untyped-def]
    if visit.identity_id is None:
        return 0
    mine = (*_theirs(visit), *which)
    with database.open(everything("end a person's sessions"), write=True) as db:
        ended = db.execute(update(BrowserSession).where(*mine).values(revoked_at=clock.wall()), execution_options=_QUIETLY)
        return int(ended.rowcount)  # type: ignore[attr-defined]


def _theirs(visit: Visit) -> list[ColumnElement[bool]]:
    """The person's sessions, as far as this one opens the person: a secondary address sees and ends those that it opened
    alone (safety 2.2)."""
    mine = [BrowserSession.identity_id == visit.identity_id, BrowserSession.revoked_at.is_(None)]
    if len(visit.addresses) < len(visit.emails):
        wider = or_(Grant.address_key.is_(None), Grant.address_key.not_in(visit.addresses))
        mine.append(~exists().where(Grant.session_id == BrowserSession.id, Grant.door == "unified", Grant.revoked_at.is_(None), wider))
    return mine


def _move(db: ScopedSession, before: Visit, session: BrowserSession, identity_id: str) -> None:
    at = clock.wall()
    if before.identity_id in (None, identity_id):
        db.execute(
            update(Grant).where(Grant.session_id == before.session_id, Grant.revoked_at.is_(None)).values(session_id=session.id),
            execution_options=_QUIETLY,
        )
    db.execute(update(BrowserSession).where(BrowserSession.id == before.session_id).values(revoked_at=at), execution_options=_QUIETLY)
