"""Write first, speak after: a state change leaves its event in the same transaction; a worker carries it to the world.

`events` is the history a customer or business may read; `outbox` is the work queue (ids only, never a secret).
"""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from core import clock
from core.db import ScopedSession
from core.models import Base, CustomerOwned
from core.scope import Actor

SIGN_IN = "auth"
"""The lane of emails that let people in, whichever business's door they stand at."""


class Event(Base, CustomerOwned):
    """What happened, who did it. Append-only. `customer_id` is '' for what concerns a business alone."""

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_noun", "business_id", "noun_id", "at", "id"),
        Index("ix_events_customer", "business_id", "customer_id", "at", "id"),
        Index("ix_events_business", "business_id", "at", "id"),
        Index("ix_events_type", "business_id", "type", "at", "id"),
        Index("ix_events_actor", "business_id", "actor_type", "actor_id", "at", "id"),
    )

    type: Mapped[str]
    noun_id: Mapped[str | None]
    actor_type: Mapped[str]
    actor_id: Mapped[str | None]
    data: Mapped[dict]
    at: Mapped[datetime]


class Outbox(Base):
    """One piece of work. Claimed under a lease with a fencing number; parked after too many failures.

    `lane`: whose turn it takes (`lane_of`).
    """

    __tablename__ = "outbox"
    __open__ = "insert"
    __table_args__ = (Index("ix_outbox_due", "state", "due_at", "id"), Index("ix_outbox_lane", "state", "lane", "due_at", "id"))

    id: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str]
    lane: Mapped[str] = mapped_column(default="system")
    business_id: Mapped[str | None]
    customer_id: Mapped[str | None]
    noun_id: Mapped[str | None]
    actor_type: Mapped[str]
    actor_id: Mapped[str | None]
    data: Mapped[dict]
    at: Mapped[datetime]
    state: Mapped[str] = mapped_column(default="pending")  # pending, done, parked
    due_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(default=0)
    done: Mapped[list] = mapped_column(default=list)
    error: Mapped[str | None]


def lane_of(type: str, business_id: str | None) -> str:
    """Work takes turns by its business; sign-in emails have a lane of their own; the rest goes by the first word of its type."""
    first = type.partition(".")[0]
    return SIGN_IN if first == SIGN_IN else business_id or first


def event_id() -> str:
    """`evt_` + milliseconds in base 16 + randomness: sorts by time."""
    return f"evt_{int(time.time() * 1000):012x}{secrets.token_hex(5)}"


def written_at(event_id: str) -> datetime:
    """By the world's clock; an event's own `at` is billing time, which may be turned."""
    return datetime.fromtimestamp(int(event_id[4:16], 16) / 1000, UTC)


def emit(
    db: ScopedSession,
    type: str,
    *,
    business_id: str | None = None,
    customer_id: str | None = None,
    noun: str | None = None,
    data: dict[str, Any] | None = None,
    actor: Actor | None = None,
    silent: bool = False,
    private: dict[str, Any] | None = None,
    due_at: datetime | None = None,
) -> str:
    """Leave an event (where a business is concerned) and its work. `silent`: history that was loaded sends nothing.

    Returns the event's id. `data` is JSON-safe and holds no secret. `private`: for the work, beside `data`, and no part of the
    history that the business reads. `due_at`: when the work is to be done, by the wall clock; None is at once.
    """
    who = actor or db.scope.actor
    one = event_id()
    at = clock.now()
    common = {"type": type, "actor_type": who.type, "actor_id": who.id, "data": data or {}, "at": at, "noun_id": noun}
    if business_id:
        db.add(Event(business_id=business_id, id=one, customer_id=customer_id or "", **common))
    if not silent:
        common |= {"data": {**(data or {}), **(private or {})}}
        db.add(Outbox(id=one, lane=lane_of(type, business_id), business_id=business_id, customer_id=customer_id,
                      due_at=due_at or clock.wall(), done=[], **common))
    return one
