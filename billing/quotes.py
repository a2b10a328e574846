"""Plan changes as rows: what was shown (a quote), and what waits for the next billing date (a scheduled change)."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from billing.provenance import FromAccount
from core.models import Base, CustomerOwned, of_customer, within_business, within_customer

VALID = timedelta(minutes=15)


class Quote(Base, CustomerOwned):
    """What one plan change costs, as shown at `as_of`; used once. Amounts are minor units of `currency`, tax included.

    due + unused + balance = total + credit: nothing is lost. `outcome` is empty until it is used, then charging, applied,
    declined or scheduled.
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
    addons: Mapped[list] = mapped_column(default=list)  # [{addon_id, name, quantity, unit_minor}]
    discounts: Mapped[list] = mapped_column(default=list)  # those the subscription has from then on
    direction: Mapped[str]  # upgrade, downgrade, same
    mode: Mapped[str]
    effective_at: Mapped[str]  # immediately, next_billing_date
    on_payment_failure: Mapped[str]
    restarts: Mapped[bool]  # the cycle begins anew
    lines: Mapped[list] = mapped_column(default=list)  # of the invoice, credit lines included, in the shape of billing/cart.py
    total_minor: Mapped[int]  # of the items among the lines
    tax: Mapped[int]  # of all the lines: contained in what is due
    unused_minor: Mapped[int]  # credit for what was paid and not used
    balance_minor: Mapped[int]  # the subscription's credit before (negative: carried forward to be paid)
    credit_applied_minor: Mapped[int]
    credit_minor: Mapped[int]  # the subscription's credit after
    due_minor: Mapped[int]
    credit_parts: Mapped[list | None]  # the tax that the credit after was paid with: see billing/credit_lines.py
    value_minor: Mapped[int]  # what was settled for the rest of the period after the change: no later credit exceeds it
    withdrawn_minor: Mapped[int] = mapped_column(default=0)  # of the credit: taken back by a refund
    source_invoice_id: Mapped[str | None]  # the invoice whose unused part is credited
    currency: Mapped[str]
    payment_method_id: Mapped[str | None]
    as_of: Mapped[datetime]
    next_billing_at: Mapped[datetime]
    next_renewal_minor: Mapped[int]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    applied_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]  # of the period the change is for, once applied
    payment_id: Mapped[str | None]
    invoice_id: Mapped[str | None]
    outcome: Mapped[str | None]
    created_at: Mapped[datetime]


class ScheduledChange(Base, CustomerOwned, FromAccount):
    """A change that is made when the next period is billed. At most one that is open per subscription."""

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
    unit_minor: Mapped[int]  # the price that was shown
    addons: Mapped[list] = mapped_column(default=list)
    discounts: Mapped[list] = mapped_column(default=list)
    effective_at: Mapped[datetime]
    created_at: Mapped[datetime]
    cancelled_at: Mapped[datetime | None]
    applied_at: Mapped[datetime | None]
