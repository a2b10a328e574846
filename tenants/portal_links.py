"""Lists and revokes the portal links that a business created for a customer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from auth import portal_links
from auth.models import DynamicLink
from billing.model.parties import Business
from core import clock
from core.db import ScopedSession
from core.errors import N_, NotFound
from core.outbox import emit
from tenants.team import Membership


@dataclass(frozen=True)
class Link:
    """A portal link. `state`: live, used, revoked or over (expired). `by`: email of the team member who created it."""

    id: str
    mailed: bool
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    state: str
    by: str


def links_of(db: ScopedSession, business_id: str, customer_id: str, limit: int = 20) -> list[Link]:
    """Return the links, newest first. The table has no scope, so load the customer through the session's scope first."""
    query = (
        select(DynamicLink)
        .where(DynamicLink.business_id == business_id, DynamicLink.customer_id == customer_id)
        .order_by(DynamicLink.created_at.desc(), DynamicLink.id)
        .limit(limit)
    )
    found = list(db.scalars(query))
    staff = {item.created_by.partition(":")[2] for item in found if item.created_by.startswith("staff:")}
    names = {id: email for id, email in db.execute(select(Membership.id, Membership.email).where(Membership.id.in_(staff)))}
    return [
        Link(
            item.id,
            item.mailed,
            item.created_at,
            item.expires_at,
            item.used_at,
            _state(item),
            names.get(item.created_by.partition(":")[2], ""),
        )
        for item in found
    ]


def revoke(db: ScopedSession, business_id: str, customer_id: str, link_id: str) -> None:
    """Revoke a link that was not used yet. Raises NotFound."""
    query = select(DynamicLink.id).where(
        DynamicLink.id == link_id, DynamicLink.business_id == business_id, DynamicLink.customer_id == customer_id
    )
    if db.scalar(query) is None or not portal_links.revoke(db, business_id, link_id):
        raise NotFound(sentence=N_("This link was already used or revoked."))
    emit(db, "portal_session.revoked", business_id=business_id, customer_id=customer_id, noun=link_id)


def business(db: ScopedSession) -> Business:
    return db.scalars(select(Business).where(Business.business_id == db.scope.business)).one()


def _state(link: DynamicLink) -> str:
    if link.used_at is not None:
        return "used"
    if link.revoked_at is not None:
        return "revoked"
    return "over" if link.expires_at <= clock.wall() else "live"
