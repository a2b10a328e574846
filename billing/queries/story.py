"""What happened to one thing, newest first, from the events."""

from __future__ import annotations

from sqlalchemy import select

from core.db import ScopedSession
from core.outbox import Event


def events(db: ScopedSession, business_id: str, noun_id: str, limit: int = 40) -> list[Event]:
    query = (
        select(Event).where(Event.business_id == business_id, Event.noun_id == noun_id)
        .order_by(Event.at.desc(), Event.id.desc()).limit(limit)
    )
    return list(db.scalars(query))
