"""Quotes of plan changes, and plan changes that are scheduled for the next billing date."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CheckConstraint, Index, select, text
from sqlalchemy.orm import Mapped, mapped_column

from billing.model.provenance import FromAccount
from billing.model.subscriptions import Subscription
from core.db import ScopedSession
from core.models import Base, CustomerOwned, of_customer, within_business, within_customer

VALID = timedelta(minutes=15)


class Quote(Base, CustomerOwned):
    """The cost of one plan change as shown at `as_of`. A quote is used once. Amounts are in minor units of `currency`, tax included.

    due + unused + balance = total + credit. `outcome` is None, or previewed if a program of the
    customer has shown the quote, until it is used; then charging, applied, declined or scheduled.
    """

    __tablename__ = "quotes"
    __table_args__ = (
        of_customer(),
        within_customer("subscription_id", "subscriptions"),
        within_customer("payment_method_id", "payment_methods", at_commit=True),
        within_customer("payment_id", "payments", at_commit=True),
        within_customer("invoice_id", "invoices", at_commit=True),
        within_business("product_id", "products"),
        CheckConstraint("due_minor >= 0", name="due"),
        CheckConstraint("withdrawn_minor >= 0 AND value_minor >= 0", name="credit"),
        Index("ix_quotes_payment", "business_id", "payment_id"),
        Index("ix_quotes_subscription", "business_id", "subscription_id", "applied_at"),
    )

    subscription_id: Mapped[str]
    version: Mapped[int]  # of the subscription it was made for
    product_id: Mapped[str]
    quantity: Mapped[int]
    unit_minor: Mapped[int]
    addons: Mapped[list[Any]] = mapped_column(default=list)  # [{addon_id, name, quantity, unit_minor}]
    discounts: Mapped[list[Any]] = mapped_column(default=list)  # the discounts of the subscription after the change
    direction: Mapped[str]  # upgrade, downgrade, same
    mode: Mapped[str]
    effective_at: Mapped[str]  # immediately, next_billing_date
    on_payment_failure: Mapped[str]
    restarts: Mapped[bool]  # a new billing cycle starts
    lines: Mapped[list[Any]] = mapped_column(default=list)  # of the invoice, credit lines included: see billing/pricing/line_items.py
    total_minor: Mapped[int]  # total of the lines of kind item
    tax: Mapped[int]  # tax of all lines, included in due_minor
    unused_minor: Mapped[int]  # credit for the paid and unused time
    balance_minor: Mapped[int]  # the subscription's credit before (negative: carried forward to be paid)
    credit_applied_minor: Mapped[int]
    credit_minor: Mapped[int]  # the subscription's credit after
    due_minor: Mapped[int]
    credit_parts: Mapped[list[Any] | None]  # the tax treatment of credit_minor, see billing/pricing/credit_lines.py
    value_minor: Mapped[int]  # the value of the rest of the period after the change; later credit is at most this
    withdrawn_minor: Mapped[int] = mapped_column(default=0)  # the part of the credit that refunds removed
    source_invoice_id: Mapped[str | None]  # the invoice whose unused part becomes credit
    currency: Mapped[str]
    payment_method_id: Mapped[str | None]
    as_of: Mapped[datetime]
    next_billing_at: Mapped[datetime]
    next_renewal_minor: Mapped[int]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    applied_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]  # end of the period that the change applies to, once applied
    payment_id: Mapped[str | None]
    invoice_id: Mapped[str | None]
    outcome: Mapped[str | None]
    created_at: Mapped[datetime]


class ScheduledChange(Base, CustomerOwned, FromAccount):
    """A plan change that applies when the next period is billed. At most one per subscription is open."""

    __tablename__ = "scheduled_changes"
    __table_args__ = (
        of_customer(),
        within_customer("subscription_id", "subscriptions"),
        within_business("product_id", "products"),
        Index(
            "uq_scheduled_changes_open",
            "business_id",
            "subscription_id",
            unique=True,
            sqlite_where=text("cancelled_at IS NULL AND applied_at IS NULL"),
            postgresql_where=text("cancelled_at IS NULL AND applied_at IS NULL"),
        ),
    )

    subscription_id: Mapped[str]
    product_id: Mapped[str]
    quantity: Mapped[int]
    unit_minor: Mapped[int]  # the price shown to the customer
    addons: Mapped[list[Any]] = mapped_column(default=list)
    discounts: Mapped[list[Any]] = mapped_column(default=list)
    effective_at: Mapped[datetime]
    created_at: Mapped[datetime]
    cancelled_at: Mapped[datetime | None]
    applied_at: Mapped[datetime | None]


def scheduled_change(db: ScopedSession, subscription: Subscription) -> ScheduledChange | None:
    """Return the plan change that is scheduled for the next billing date."""
    return db.scalar(
        select(ScheduledChange).where(
            ScheduledChange.business_id == subscription.business_id,
            ScheduledChange.subscription_id == subscription.id,
            ScheduledChange.cancelled_at.is_(None),
            ScheduledChange.applied_at.is_(None),
        )
    )
