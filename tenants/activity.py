"""The activity of a business with its actors, read from the append-only events."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, select

from billing.model.parties import Customer
from core.db import ScopedSession
from core.outbox import Event
from tenants.api_keys import ApiKey
from tenants.team import Membership

Mark = tuple[datetime, str]
"""(at, id) of the last event of a page."""

ACTORS = ("customer", "staff", "api_key", "system")


@dataclass(slots=True)
class BusinessActivityEntry:
    """An event. `who`: email or name of the actor, if known. `customer`: name of the affected customer."""

    id: str
    at: datetime
    type: str
    actor_type: str
    actor_id: str | None
    customer_id: str
    noun_id: str | None
    data: dict[str, Any]
    customer: str = ""
    who: str = ""


def entries(
    db: ScopedSession,
    *,
    customer_id: str = "",
    actor: str = "",
    actor_id: str = "",
    types: tuple[str, ...] = (),
    before: Mark | None = None,
    limit: int = 25,
) -> list[BusinessActivityEntry]:
    """Return the events of the session's business, newest first. Runs three statements."""
    e = Event
    query = (
        select(e.id, e.at, e.type, e.actor_type, e.actor_id, e.customer_id, e.noun_id, e.data, func.coalesce(Customer.name, ""))
        .outerjoin(Customer, and_(Customer.business_id == e.business_id, Customer.customer_id == e.customer_id))
        .order_by(e.at.desc(), e.id.desc())
        .limit(limit)
    )
    if customer_id:
        query = query.where(e.customer_id == customer_id)
    if actor:
        query = query.where(e.actor_type == actor)
    if actor_id:
        query = query.where(e.actor_id == actor_id)
    if types:
        query = query.where(e.type.in_(types))
    if before:
        query = query.where(e.at <= before[0], (e.at < before[0]) | (e.id < before[1]))
    found = [BusinessActivityEntry(*row) for row in db.execute(query)]
    _name_actors(db, found)
    return found


def names_of(db: ScopedSession, authors: list[dict[str, Any] | None]) -> dict[str, str]:
    """Return {actor id: email of the team member or name of the API key} for authors of payments and refunds ({type, id})."""
    actors = [BusinessActivityEntry("", datetime.min, "", author["type"], author.get("id"), "", None, {}) for author in authors if author]
    _name_actors(db, actors)
    return {item.actor_id: item.who for item in actors if item.actor_id and item.who}


def _name_actors(db: ScopedSession, found: list[BusinessActivityEntry]) -> None:
    """Set `who`: the email of team members, including former ones, and the name of API keys."""
    staff = {item.actor_id for item in found if item.actor_type == "staff" and item.actor_id}
    keys = {item.actor_id for item in found if item.actor_type == "api_key" and item.actor_id}
    names = {id: email for id, email in db.execute(select(Membership.id, Membership.email).where(Membership.id.in_(staff)))}
    names |= {id: name for id, name in db.execute(select(ApiKey.id, ApiKey.name).where(ApiKey.id.in_(keys)))}
    for item in found:
        item.who = names.get(item.actor_id or "", "")
