"""The transactional outbox: a state change writes its event in the same transaction, and a worker handles it later.

`events` is the history that customers and businesses read; `outbox` is the work queue (ids only, no secrets).
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
"""The lane of sign-in emails, for all businesses."""
MAIL_PART = ".mail"
"""Suffix of the id of a row with the emails of an event whose other work failed."""


class Event(Base, CustomerOwned):
    """An event and its actor. Append-only. `customer_id` is '' for events of a business without a customer."""

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
    data: Mapped[dict[str, Any]]
    at: Mapped[datetime]


class Outbox(Base):
    """One piece of work. Claimed under a lease with a fencing number; given up after too many failures.

    `lane`: its queue (`lane_of`). `state`: pending; mail (only emails are left); done; `given_up`.
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
    data: Mapped[dict[str, Any]]
    at: Mapped[datetime]
    state: Mapped[str] = mapped_column(default="pending")  # pending, mail, done, given_up, or set_aside by an operator
    due_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(default=0)
    done: Mapped[list[Any]] = mapped_column(default=list)
    error: Mapped[str | None]


def lane_of(type: str, business_id: str | None) -> str:
    """Return the lane: "auth" for sign-in emails, else the business id, else the first word of the type."""
    first = type.partition(".")[0]
    return SIGN_IN if first == SIGN_IN else business_id or first


def event_id() -> str:
    """Return `evt_`, the time in milliseconds (hexadecimal) and random digits, so that ids sort by time."""
    return f"evt_{int(time.time() * 1000):012x}{secrets.token_hex(5)}"


def written_at(event_id: str) -> datetime:
    """Return the real time of an event from its id. The event's `at` is billing time, which tests can move."""
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
    """Write an event (if there is a business) and its work. Returns the event's id.

    `silent`: write no work, for imported history. `data` is JSON-safe and holds no secret. `private`: more data for the work,
    not visible in the history. `due_at`: time of the work by the wall clock; None means now.
    """
    actor = actor or db.scope.actor
    item = event_id()
    at = clock.now()
    common = {"type": type, "actor_type": actor.type, "actor_id": actor.id, "data": data or {}, "at": at, "noun_id": noun}
    if business_id:
        db.add(Event(business_id=business_id, id=item, customer_id=customer_id or "", **common))
    if not silent:
        common |= {"data": {**(data or {}), **(private or {})}}
        db.add(
            Outbox(
                id=item,
                lane=lane_of(type, business_id),
                business_id=business_id,
                customer_id=customer_id,
                due_at=due_at or clock.wall(),
                done=[],
                **common,
            )
        )
    return item
