"""Subscriptions: their plan, price, dates, and the system that collects them. Dates are computed from the anchor, see `calendar.py`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint, select, text, update
from sqlalchemy.orm import Mapped, mapped_column

from billing.model.provenance import FromAccount, made_here_first, never_collected_here
from core.db import Database, ScopedSession
from core.errors import N_, NotFound
from core.models import Base, CustomerOwned, of_customer, within_business, within_customer
from core.scope import Scope


class Subscription(Base, CustomerOwned, FromAccount):
    __tablename__ = "subscriptions"
    __table_args__ = (
        of_customer(),
        within_business("product_id", "products"),
        within_customer("payment_method_id", "payment_methods", at_commit=True),
        UniqueConstraint("business_id", "customer_id", "id"),
        never_collected_here("collected_by", "mirrored"),
        Index("ix_subscriptions_customer", "business_id", "customer_id", "status", "next_billing_at"),
        Index("ix_subscriptions_due", "status", "next_billing_at"),
        Index(
            "ix_subscriptions_renewing",
            "business_id",
            "next_billing_at",
            sqlite_where=text("collected_by = 'us' AND (status || '') = 'active'"),
            postgresql_where=text("collected_by = 'us' AND (status || '') = 'active'"),
        ),
        Index(
            "ix_subscriptions_ending",
            "business_id",
            "next_billing_at",
            sqlite_where=text("collected_by = 'us' AND cancel_at_period_end = 1"),
            postgresql_where=text("collected_by = 'us' AND cancel_at_period_end"),
        ),
        Index("ix_subscriptions_created", "business_id", "created_at", "id"),
        Index(
            "ix_subscriptions_undecided",
            "business_id",
            "id",
            postgresql_where=text("collected_by = 'undecided'"),
            sqlite_where=text("collected_by = 'undecided'"),
        ),
        Index(
            "ix_subscriptions_notice_unplanned",
            "business_id",
            "next_billing_at",
            postgresql_where=text("collected_by = 'us' AND status = 'active' AND coalesce(notice_version, 0) <> version"),
            sqlite_where=text("collected_by = 'us' AND status = 'active' AND coalesce(notice_version, 0) <> version"),
        ),
        Index(
            "ix_subscriptions_notice_due",
            "business_id",
            "notice_at",
            postgresql_where=text("notice_at IS NOT NULL"),
            sqlite_where=text("notice_at IS NOT NULL"),
        ),
    )

    product_id: Mapped[str]
    brand_id: Mapped[str]
    status: Mapped[str]
    quantity: Mapped[int] = mapped_column(default=1)
    currency: Mapped[str]
    unit_minor: Mapped[int]  # the agreed price; later changes of the product do not affect it
    tax_inclusive: Mapped[bool] = mapped_column(default=False)
    addons: Mapped[list[Any]] = mapped_column(default=list)  # [{addon_id, name, quantity, unit_minor}]
    meters: Mapped[list[Any]] = mapped_column(default=list)
    discounts: Mapped[list[Any]] = mapped_column(default=list)  # copies, see billing/model/discounts.py
    interval: Mapped[str]
    interval_count: Mapped[int] = mapped_column(default=1)
    term_interval: Mapped[str] = mapped_column(default="Year")
    term_count: Mapped[int] = mapped_column(default=10)
    zone: Mapped[str]
    anchor_at: Mapped[datetime | None]
    anchor_n: Mapped[int] = mapped_column(default=0)  # number of the period that ends at the anchor; above 0 if a new cycle was started
    period_n: Mapped[int] = mapped_column(default=0)  # number of the paid period; the n-th date is computed from the anchor
    previous_billing_at: Mapped[datetime | None]
    next_billing_at: Mapped[datetime | None]
    trial_days: Mapped[int] = mapped_column(default=0)
    trial_ends_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    cancel_at_period_end: Mapped[bool] = mapped_column(default=False)
    cancelled_at: Mapped[datetime | None]
    cancelled_by: Mapped[dict[str, Any] | None]
    cancellation_feedback: Mapped[str | None]
    cancellation_comment: Mapped[str | None]
    paused_at: Mapped[datetime | None]
    on_hold_at: Mapped[datetime | None]
    payment_method_id: Mapped[str | None]
    billing: Mapped[dict[str, Any]] = mapped_column(default=dict)
    tax_id: Mapped[str | None]
    business_name: Mapped[str | None]
    customer_type: Mapped[str | None]  # consumer, business: when the contract was concluded; see customer_types.type_of_contract
    concluded_at: Mapped[datetime | None]  # when it first became active: the period for withdrawing counts from this day
    collected_by: Mapped[str] = mapped_column(default="us")
    notice_at: Mapped[datetime | None]  # when the next charge is announced; None: not, or it was. See billing/renewals/notice_plan.py
    notice_version: Mapped[int | None]  # the version that notice_at was computed for
    charge_from: Mapped[datetime | None]  # a renewal whose notice was late is not charged before
    credit_minor: Mapped[int] = mapped_column(default=0)
    meta: Mapped[dict[str, Any]] = mapped_column(default=dict)
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime]

    __mapper_args__ = {"version_id_col": version}

    @property
    def is_trial(self) -> bool:
        return self.status == "active" and self.trial_ends_at is not None and self.period_n == 0

    @property
    def stopped_at(self) -> datetime | None:
        """Since when the subscription is not used any more, because it is paused or was cancelled, perhaps during a pause."""
        if self.status not in ("paused", "cancelled"):
            return None
        ended_at = self.cancelled_at if self.status == "cancelled" else None
        return min((at for at in (self.paused_at, ended_at) if at is not None), default=None)


def load_subscription(db: ScopedSession, subscription_id: str, *, lock: bool = True) -> Subscription:
    """Return a subscription of the scope, with its row locked unless it is only read. Raises NotFound.

    If an imported row of another business shares the id, returns the one made here.
    """
    wanted = select(Subscription).where(Subscription.id == subscription_id)
    wanted = wanted.order_by(made_here_first(Subscription), Subscription.business_id).limit(1)
    found = db.scalar(wanted.with_for_update() if lock else wanted)
    if found is None:
        raise NotFound(sentence=N_("There is no such subscription."))
    return found


def plan_notice_again(db: ScopedSession, subscription_id: str) -> None:
    """Let the notice ahead of the next charge be planned again, after a change outside of the subscription's row."""
    db.execute(
        update(Subscription).where(Subscription.id == subscription_id).values(notice_version=None),
        execution_options={"synchronize_session": False},
    )


def business_of(database: Database, scope: Scope, subscription_id: str) -> str:
    """Return the id of the subscription's business, if the scope can see it. Raises NotFound."""
    with database.open(scope) as db:
        ids = select(Subscription.business_id).where(Subscription.id == subscription_id)
        found = db.scalar(ids.order_by(made_here_first(Subscription), Subscription.business_id).limit(1))
    if found is None:
        raise NotFound(sentence=N_("There is no such subscription."))
    return found
