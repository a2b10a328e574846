"""Actions that another billing system has to carry out. Each is committed first, then sent, and shown until it is answered."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base, CustomerOwned, of_customer, within_customer


class DelegatedAction(Base, CustomerOwned):
    """An action: `verb` and its `parameters` (JSON). At most one per subscription is pending.

    Every request carries the same `key`. `status`: see `lifecycle.DELEGATED_ACTION`. `sent_at`: since then the action may have arrived, so
    the subscription is looked up there before the action is sent again.
    """

    __tablename__ = "delegated_actions"
    __table_args__ = (
        of_customer(),
        within_customer("subscription_id", "subscriptions"),
        Index(
            "uq_delegated_actions_pending",
            "business_id",
            "subscription_id",
            unique=True,
            sqlite_where=text("status = 'pending'"),
            postgresql_where=text("status = 'pending'"),
        ),
        Index("ix_delegated_actions_subscription", "business_id", "subscription_id", "created_at"),
        Index("ix_delegated_actions_check", "status", "check_at"),
    )

    subscription_id: Mapped[str]
    system: Mapped[str]  # the subscription's collected_by
    verb: Mapped[str]
    parameters: Mapped[dict[str, Any]] = mapped_column(default=dict)
    status: Mapped[str] = mapped_column(default="pending")
    key: Mapped[str]
    error: Mapped[str | None]  # the message of the other system
    link: Mapped[str | None]  # a page of the other system that the customer has to go to
    actor_type: Mapped[str]
    actor_id: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(default=0)
    sent_at: Mapped[datetime | None]  # wall clock
    check_at: Mapped[datetime | None]  # wall clock: when to send or look up next
    answered_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
