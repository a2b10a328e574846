"""A subscription: what recurs, when, at which price, and who collects it. Dates come from the anchor, see `calendar.py`."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from billing.provenance import FromAccount, never_collected_here
from core.models import Base, CustomerOwned, of_customer, within_business, within_customer


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
        Index("ix_subscriptions_created", "business_id", "created_at", "id"),
    )

    product_id: Mapped[str]
    brand_id: Mapped[str]
    status: Mapped[str]
    quantity: Mapped[int] = mapped_column(default=1)
    currency: Mapped[str]
    unit_minor: Mapped[int]  # the price agreed, which later changes of the product do not touch
    tax_inclusive: Mapped[bool] = mapped_column(default=False)
    addons: Mapped[list] = mapped_column(default=list)  # [{addon_id, name, quantity, unit_minor}]
    meters: Mapped[list] = mapped_column(default=list)
    discounts: Mapped[list] = mapped_column(default=list)  # copies, see billing/discounts.py
    interval: Mapped[str]
    interval_count: Mapped[int] = mapped_column(default=1)
    term_interval: Mapped[str] = mapped_column(default="Year")
    term_count: Mapped[int] = mapped_column(default=10)
    zone: Mapped[str]
    anchor_at: Mapped[datetime | None]
    anchor_n: Mapped[int] = mapped_column(default=0)  # the number of the period that ends at the anchor: later where a cycle began anew
    period_n: Mapped[int] = mapped_column(default=0)  # the period paid for; the n-th date comes from the anchor
    previous_billing_at: Mapped[datetime | None]
    next_billing_at: Mapped[datetime | None]
    trial_days: Mapped[int] = mapped_column(default=0)
    trial_ends_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    cancel_at_period_end: Mapped[bool] = mapped_column(default=False)
    cancelled_at: Mapped[datetime | None]
    cancelled_by: Mapped[dict | None]
    cancellation_feedback: Mapped[str | None]
    cancellation_comment: Mapped[str | None]
    paused_at: Mapped[datetime | None]
    on_hold_at: Mapped[datetime | None]
    payment_method_id: Mapped[str | None]
    billing: Mapped[dict] = mapped_column(default=dict)
    tax_id: Mapped[str | None]
    business_name: Mapped[str | None]
    collected_by: Mapped[str] = mapped_column(default="us")
    credit_minor: Mapped[int] = mapped_column(default=0)
    meta: Mapped[dict] = mapped_column(default=dict)
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime]

    __mapper_args__ = {"version_id_col": version}

    @property
    def is_trial(self) -> bool:
        return self.status == "active" and self.trial_ends_at is not None and self.period_n == 0
