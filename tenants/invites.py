"""The links a business made for one customer: listed with what became of each, and taken back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from auth import links
from auth.models import DynamicLink
from billing.parties import Business
from core import clock
from core.db import ScopedSession
from core.errors import NotFound
from core.outbox import emit
from tenants.team import Membership


@dataclass(frozen=True)
class Link:
    """`state`: live, used, revoked, over. `by`: who made it."""

    id: str
    mailed: bool
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    state: str
    by: str


def links_of(db: ScopedSession, business_id: str, customer_id: str, limit: int = 20) -> list[Link]:
    """Newest first. The customer was loaded through the session's scope; the links themselves stand in an open table."""
    query = (
        select(DynamicLink).where(DynamicLink.business_id == business_id, DynamicLink.customer_id == customer_id)
        .order_by(DynamicLink.created_at.desc(), DynamicLink.id).limit(limit)
    )
    found = list(db.scalars(query))
    staff = {one.created_by.partition(":")[2] for one in found if one.created_by.startswith("staff:")}
    names = {id: email for id, email in db.execute(select(Membership.id, Membership.email).where(Membership.id.in_(staff)))}
    return [
        Link(one.id, one.mailed, one.created_at, one.expires_at, one.used_at, _state(one), names.get(one.created_by.partition(":")[2], ""))
        for one in found
    ]


def revoke(db: ScopedSession, business_id: str, customer_id: str, link_id: str) -> None:
    """Take a link back that nobody used yet. Raises NotFound."""
    theirs = select(DynamicLink.id).where(
        DynamicLink.id == link_id, DynamicLink.business_id == business_id, DynamicLink.customer_id == customer_id)
    if db.scalar(theirs) is None or not links.revoke(db, business_id, link_id):
        raise NotFound(sentence="This link was used already, or taken back.")
    emit(db, "portal_session.revoked", business_id=business_id, customer_id=customer_id, noun=link_id)


def business(db: ScopedSession) -> Business:
    return db.scalars(select(Business).where(Business.business_id == db.scope.business)).one()


def _state(link: DynamicLink) -> str:
    if link.used_at is not None:
        return "used"
    if link.revoked_at is not None:
        return "revoked"
    return "over" if link.expires_at <= clock.wall() else "live"
