"""Queries of the email log for operators."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from core.ids import keyed_hashes

if TYPE_CHECKING:
    from core.db import ScopedSession
    from core.settings import Settings
from core.email_log import EmailRecord, address_key, hash_purpose, outcome_of

SHOWN = 100


def of_address(db: ScopedSession, settings: Settings, address: str) -> list[EmailRecord]:
    """Return the log rows of an address, newest first, at most SHOWN. Includes rows hashed with rotated keys."""
    hashes = [value[:32] for value in keyed_hashes(settings.secret_keys, hash_purpose(settings), address_key(address))]
    query = select(EmailRecord).where(EmailRecord.address_hash.in_(hashes))
    return list(db.scalars(query.order_by(EmailRecord.created_at.desc(), EmailRecord.id).limit(SHOWN)))


def counts(db: ScopedSession, since: datetime) -> dict[str, int]:
    """Return the number of emails updated since then, by outcome."""
    is_deferred = EmailRecord.deferred_at.is_not(None)
    query = select(EmailRecord.state, is_deferred, func.count(EmailRecord.id)).where(EmailRecord.updated_at >= since)
    found: dict[str, int] = {}
    for state, was_deferred, count in db.execute(query.group_by(EmailRecord.state, is_deferred)):
        outcome = outcome_of(state, was_deferred)
        found[outcome] = found.get(outcome, 0) + count
    return found


def newest(db: ScopedSession, state: str) -> EmailRecord | None:
    """Return the email that entered this state last."""
    return db.scalar(select(EmailRecord).where(EmailRecord.state == state).order_by(EmailRecord.updated_at.desc()).limit(1))


def last_deferred(db: ScopedSession) -> EmailRecord | None:
    """Return the email that was deferred last, whatever its state is now."""
    return db.scalar(select(EmailRecord).where(EmailRecord.deferred_at.is_not(None)).order_by(EmailRecord.deferred_at.desc()).limit(1))
