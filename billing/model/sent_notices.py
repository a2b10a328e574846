"""Records sent notices and retries, so that a job that runs every minute sends or tries each only once."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, select
from sqlalchemy.orm import Mapped, mapped_column

from core import clock
from core.db import ScopedSession
from core.models import Base, CustomerOwned, of_customer


class SentNotice(Base, CustomerOwned):
    """`id` is purpose:noun:moment:step. `for_at` is the time it is about: next billing date, start of the hold, or card expiry."""

    __tablename__ = "sent_notices"
    __table_args__ = (of_customer(), Index("ix_sent_notices_noun", "business_id", "noun_id", "purpose", "for_at"))

    purpose: Mapped[str]  # renewal, expiring, dunning, retry
    noun_id: Mapped[str]
    for_at: Mapped[datetime]
    step: Mapped[int] = mapped_column(default=1)
    at: Mapped[datetime]
    closed_at: Mapped[datetime | None]  # dunning: when the hold ended


def record_once(db: ScopedSession, owner: tuple[str, str], purpose: str, noun_id: str, for_at: datetime, step: int = 1) -> bool:
    """Record a notice. Return True the first time; the caller then sends it in the same transaction.

    `owner` is (business_id, customer_id).
    """
    notice_id = f"{purpose}:{noun_id}:{for_at:%Y%m%dT%H%M%S}:{step}"
    if db.scalar(select(SentNotice.id).where(SentNotice.id == notice_id)) is not None:
        return False
    db.add(
        SentNotice(
            business_id=owner[0],
            customer_id=owner[1],
            id=notice_id,
            purpose=purpose,
            noun_id=noun_id,
            for_at=for_at,
            step=step,
            at=clock.now(),
        )
    )
    return True
