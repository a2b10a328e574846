"""Everything that happened at a business, with who did it: read from the events, which nobody can rewrite."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, select

from billing.parties import Customer
from core.db import ScopedSession
from core.outbox import Event
from tenants.keys import ApiKey
from tenants.team import Membership

Mark = tuple[datetime, str]
"""(at, id) of an event: where a page ends."""

ACTORS = ("customer", "staff", "api_key", "system")


@dataclass(slots=True)
class Happening:
    """`who` is the actor's address or name, where there is one; `customer` the name of whom it is about."""

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
    db: ScopedSession, *, customer_id: str = "", actor: str = "", actor_id: str = "", types: tuple[str, ...] = (),
    before: Mark | None = None, limit: int = 25,
) -> list[Happening]:
    """Newest first, of the session's business. Three statements, whatever the number of rows."""
    e = Event
    query = (
        select(e.id, e.at, e.type, e.actor_type, e.actor_id, e.customer_id, e.noun_id, e.data, func.coalesce(Customer.name, ""))
        .outerjoin(Customer, and_(Customer.business_id == e.business_id, Customer.customer_id == e.customer_id))
        .order_by(e.at.desc(), e.id.desc()).limit(limit)
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
    found = [Happening(*row) for row in db.execute(query)]
    _name_actors(db, found)
    return found


def names_of(db: ScopedSession, authors: list[dict[str, Any] | None]) -> dict[str, str]:
    """{actor id: address of a team member, or name of an API key} for authors of payments and refunds ({type, id})."""
    asked = [Happening("", datetime.min, "", one["type"], one.get("id"), "", None, {}) for one in authors if one]
    _name_actors(db, asked)
    return {one.actor_id: one.who for one in asked if one.actor_id and one.who}


def _name_actors(db: ScopedSession, found: list[Happening]) -> None:
    """People by their address, programs by the name of their key; those who left the team keep theirs."""
    staff = {one.actor_id for one in found if one.actor_type == "staff" and one.actor_id}
    keys = {one.actor_id for one in found if one.actor_type == "api_key" and one.actor_id}
    names = {id: email for id, email in db.execute(select(Membership.id, Membership.email).where(Membership.id.in_(staff)))}
    names |= {id: name for id, name in db.execute(select(ApiKey.id, ApiKey.name).where(ApiKey.id.in_(keys)))}
    for one in found:
        one.who = names.get(one.actor_id or "", "")
