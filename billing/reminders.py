"""What was said, or tried, once: a row per purpose, noun and moment, so that a chore that runs every minute says it once."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, select
from sqlalchemy.orm import Mapped, mapped_column

from core import clock
from core.db import ScopedSession
from core.models import Base, CustomerOwned, of_customer


class Reminder(Base, CustomerOwned):
    """`id` is purpose:noun:moment:step. `for_at`: the moment it is about (next billing date, start of the hold, a card's end)."""

    __tablename__ = "reminders"
    __table_args__ = (of_customer(), Index("ix_reminders_noun", "business_id", "noun_id", "purpose", "for_at"))

    purpose: Mapped[str]  # renewal, expiring, dunning, retry
    noun_id: Mapped[str]
    for_at: Mapped[datetime]
    step: Mapped[int] = mapped_column(default=1)
    at: Mapped[datetime]
    closed_at: Mapped[datetime | None]  # dunning: when the hold was over


def once(db: ScopedSession, owner: tuple[str, str], purpose: str, noun_id: str, for_at: datetime, step: int = 1) -> bool:
    """True the first time: say it in this same transaction. `owner` is (business_id, customer_id)."""
    one = f"{purpose}:{noun_id}:{for_at:%Y%m%dT%H%M%S}:{step}"
    if db.scalar(select(Reminder.id).where(Reminder.id == one)) is not None:
        return False
    db.add(Reminder(business_id=owner[0], customer_id=owner[1], id=one, purpose=purpose, noun_id=noun_id, for_at=for_at, step=step,
                    at=clock.now()))
    return True
