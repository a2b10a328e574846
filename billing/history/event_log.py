"""Read the event log of a business, newest first and keyset-paged."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from core.db import ScopedSession
from core.errors import N_, NotFound
from core.outbox import Event

NOUNS = (
    "payment",
    "refund",
    "dispute",
    "subscription",
    "invoice",
    "dunning",
    "license_key",
    "customer",
    "payment_method",
    "product",
    "addon",
    "collection",
    "discount",
    "business",
    "webhook_endpoint",
    "api_key",
    "team",
    "money",
)
"""First words of event types that a business's events have."""
Mark = tuple[datetime, str]
"""(at, id) of the last event of a page."""


def events(db: ScopedSession, noun: str = "", about: str = "", before: Mark | None = None, limit: int = 51) -> list[Event]:
    """Filtered events. `noun`: first word of the type. `about`: an exact type, or the id of the event, its object or its customer."""
    query = select(Event)
    if noun:
        query = query.where(Event.type.startswith(f"{noun}.", autoescape=True))
    if about:
        query = query.where((Event.type == about) | (Event.noun_id == about) | (Event.customer_id == about) | (Event.id == about))
    if before:
        at, item = before
        query = query.where(Event.at <= at, (Event.at < at) | (Event.id < item))
    return list(db.scalars(query.order_by(Event.at.desc(), Event.id.desc()).limit(limit)))


def event(db: ScopedSession, event_id: str) -> Event:
    """One event. Raises NotFound."""
    found = db.scalar(select(Event).where(Event.id == event_id))
    if found is None:
        raise NotFound(sentence=N_("There is no such event."))
    return found
