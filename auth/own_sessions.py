"""List and end a person's own sessions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, exists, or_, select, update

from auth.models import BrowserSession, Grant
from auth.sessions import IDLE, Visit
from core import clock
from core.db import Database
from core.scope import everything
from core.transaction_retry import retried

_QUIETLY = {"synchronize_session": False}


@dataclass(frozen=True)
class SessionRow:
    """A row of the list of signed-in browsers."""

    id: str
    device: str
    created_at: datetime
    last_seen_at: datetime
    sign_in_method: str | None
    is_here: bool


def sessions_of(database: Database, visit: Visit) -> list[SessionRow]:
    """Return the person's sessions, newest first. Empty if only a business vouched for the visitor."""
    if visit.identity_id is None:
        return []
    at = clock.wall()
    still = exists().where(
        Grant.session_id == BrowserSession.id, Grant.door == "unified", Grant.revoked_at.is_(None), Grant.expires_at > at
    )
    query = select(BrowserSession).where(*_theirs(visit), BrowserSession.expires_at > at, BrowserSession.last_seen_at > at - IDLE, still)
    with database.open(everything("list a person's sessions")) as db:
        return [
            SessionRow(s.id, s.device, s.created_at, s.last_seen_at, s.sign_in_method, s.id == visit.session_id)
            for s in db.scalars(query.order_by(BrowserSession.last_seen_at.desc()))
        ]


def end_one(database: Database, visit: Visit, session_id: str) -> bool:
    """End one of this person's sessions. Returns False if there is no such session."""
    return _end(database, visit, BrowserSession.id == session_id) == 1


def end_all(database: Database, visit: Visit, *, keep_here: bool = False) -> int:
    """Sign out everywhere; `keep_here` keeps this browser signed in. Returns the number of ended sessions."""
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
    """Conditions for the person's sessions that this visit may see and end.

    A secondary address covers only sessions that it opened alone (safety 2.2).
    """
    mine = [BrowserSession.identity_id == visit.identity_id, BrowserSession.revoked_at.is_(None)]
    if len(visit.addresses) < len(visit.emails):
        wider = or_(Grant.address_key.is_(None), Grant.address_key.not_in(visit.addresses))
        mine.append(~exists().where(Grant.session_id == BrowserSession.id, Grant.door == "unified", Grant.revoked_at.is_(None), wider))
    return mine
