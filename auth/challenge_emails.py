"""State of the email of a challenge: sent, replaced by a newer one, or delayed."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select, update

from auth.challenges import LIFE, is_live, live, siblings
from auth.models import Challenge
from core import clock
from core.db import Database
from core.scope import everything

_QUIETLY = {"synchronize_session": False}


LATEST = timedelta(days=1)
"""How long after the request a delayed sign-in email is still sent."""


def note_sent(database: Database, challenge: Challenge) -> None:
    """Record that the email was sent. Earlier codes of the same browser for the same address expire now."""
    at = clock.wall()
    with database.open(everything("record a sent sign-in email"), write=True) as db:
        db.execute(update(Challenge).where(Challenge.id == challenge.id).values(sent_at=at), execution_options=_QUIETLY)
        db.execute(
            update(Challenge).where(*siblings(challenge), Challenge.created_at < challenge.created_at, live(at)).values(revoked_at=at),
            execution_options=_QUIETLY,
        )


def is_replaced(database: Database, challenge: Challenge) -> bool:
    """Return whether a newer, due email of the same browser replaces this one. If so, revoke this challenge."""
    at = clock.wall()
    newer = select(Challenge.id).where(*siblings(challenge), Challenge.created_at > challenge.created_at, live(at), Challenge.send_at <= at)
    with database.open(everything("replace a sign-in email"), write=True) as db:
        if db.scalar(newer.limit(1)) is None:
            return False
        db.execute(update(Challenge).where(Challenge.id == challenge.id).values(revoked_at=at), execution_options=_QUIETLY)
    return True


def revive(database: Database, challenge: Challenge) -> bool:
    """Extend a code whose email was delayed to ten minutes from now. Updates the detached `challenge` too.

    Returns False if the challenge was used, revoked or expired, or is older than a day.
    """
    at = clock.wall()
    if challenge.sent_at or challenge.used_at or challenge.revoked_at or challenge.created_at + LATEST < at:
        return is_live(challenge)
    if challenge.expires_at - at >= LIFE / 2:
        return True
    with database.open(everything("extend a late sign-in email"), write=True) as db:
        done = db.execute(
            update(Challenge)
            .where(Challenge.id == challenge.id, Challenge.sent_at.is_(None), Challenge.used_at.is_(None), Challenge.revoked_at.is_(None))
            .values(expires_at=at + LIFE),
            execution_options=_QUIETLY,
        )
    challenge.expires_at = at + LIFE
    return bool(done.rowcount == 1)  # type: ignore[attr-defined]
