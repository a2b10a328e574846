"""Read the events of one object, or of all customers of the scope, newest first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from core.db import ScopedSession
from core.outbox import Event


@dataclass(slots=True)
class TimelineEvent:
    id: str
    at: datetime
    type: str
    actor_type: str
    business_id: str
    data: dict[str, Any]


def events(db: ScopedSession, business_id: str, noun_id: str, *, without: Iterable[str] = (), limit: int = 40) -> list[Event]:
    query = (
        select(Event)
        .where(Event.business_id == business_id, Event.noun_id == noun_id, Event.type.not_in(list(without)))
        .order_by(Event.at.desc(), Event.id.desc())
        .limit(limit)
    )
    return list(db.scalars(query))


def events_of(
    db: ScopedSession, *, without: Iterable[str] = (), before: tuple[datetime, str] | None = None, limit: int = 30
) -> list[TimelineEvent]:
    """Events of the customers in the session's scope, in one statement. `before`: (at, id) of the last event seen."""
    e = Event
    query = (
        select(e.id, e.at, e.type, e.actor_type, e.business_id, e.data)
        .where(e.type.not_in(list(without)))
        .order_by(e.at.desc(), e.id.desc())
        .limit(limit)
    )
    if before:
        query = query.where(e.at <= before[0], (e.at < before[0]) | (e.id < before[1]))
    return [TimelineEvent(*row) for row in db.execute(query)]
