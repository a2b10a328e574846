"""Restarts: a new subscription that takes up one that has ended. Neither row of the subscriptions refers to the other itself."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, UniqueConstraint, select, text
from sqlalchemy.orm import Mapped

from billing.model.subscriptions import Subscription
from core.db import ScopedSession
from core.models import Base, CustomerOwned, of_customer, within_customer


class Restart(Base, CustomerOwned):
    """`failed_at`: the first payment of the new subscription was declined or given up. At most one restart that did not fail exists."""

    __tablename__ = "restarts"
    __table_args__ = (
        of_customer(),
        within_customer("subscription_id", "subscriptions"),
        within_customer("new_subscription_id", "subscriptions"),
        UniqueConstraint("business_id", "new_subscription_id"),
        Index(
            "uq_restarts_open",
            "business_id",
            "subscription_id",
            unique=True,
            sqlite_where=text("failed_at IS NULL"),
            postgresql_where=text("failed_at IS NULL"),
        ),
    )

    subscription_id: Mapped[str]
    new_subscription_id: Mapped[str]
    created_at: Mapped[datetime]
    failed_at: Mapped[datetime | None]


def restart_of(db: ScopedSession, business_id: str, subscription_id: str) -> Restart | None:
    """Return the restart of an ended subscription, unless its first payment failed."""
    found = db.execute(
        select(Restart, Subscription.status)
        .join(Subscription, (Subscription.business_id == Restart.business_id) & (Subscription.id == Restart.new_subscription_id))
        .where(Restart.business_id == business_id, Restart.subscription_id == subscription_id, Restart.failed_at.is_(None))
    ).first()
    return found[0] if found is not None and found[1] != "failed" else None


def restarted_from(db: ScopedSession, business_id: str, subscription_id: str) -> str | None:
    """Return the id of the ended subscription that this one takes up."""
    found = select(Restart.subscription_id).where(Restart.business_id == business_id, Restart.new_subscription_id == subscription_id)
    return db.scalar(found)
