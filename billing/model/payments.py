"""Payments, refunds and saved payment methods. A payment is one attempt to pay one invoice, under a key derived from both."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from billing.model.provenance import FromAccount, never_collected_here, never_open
from core.models import Base, CustomerOwned, of_customer, within_customer

WALLETS = {"apple_pay": "Apple Pay", "google_pay": "Google Pay", "link": "Link", "samsung_pay": "Samsung Pay"}
"""Wallet of a card → its name, which is the same in every language. Other wallets are not named."""


class PaymentMethod(Base, CustomerOwned, FromAccount):
    """A saved payment method: brand, last four digits, expiry and the gateway's reference. The card number is never stored."""

    __tablename__ = "payment_methods"
    __table_args__ = (
        of_customer(),
        UniqueConstraint("business_id", "customer_id", "id"),
        Index("uq_payment_methods_account_reference", "business_id", "payment_account_id", "reference", unique=True),
        never_collected_here("held_by", "mirrored"),
        Index("ix_payment_methods_customer", "business_id", "customer_id", "created_at"),
    )

    payment_account_id: Mapped[str | None]  # where it can be charged; None if another system holds it
    reference: Mapped[str]
    kind: Mapped[str] = mapped_column(default="card")
    brand: Mapped[str | None]
    last4: Mapped[str | None]
    expiry_month: Mapped[int | None]
    expiry_year: Mapped[int | None]
    holder: Mapped[str | None]
    country: Mapped[str | None]
    wallet: Mapped[str | None]  # apple_pay, google_pay, link
    display: Mapped[str | None]  # an email address or a bank, for kinds without last four digits
    bank_code: Mapped[str | None]
    mandate: Mapped[str | None]  # the processor's id of it
    mandate_reference: Mapped[str | None]  # shown to the customer, with the date
    mandate_at: Mapped[datetime | None]
    fingerprint: Mapped[str | None]  # equal for the same card at one account, also of different customers
    former_reference: Mapped[str | None]  # at the account that it was moved from
    recurring: Mapped[bool] = mapped_column(default=True)
    held_by: Mapped[str] = mapped_column(default="us", server_default="us")  # or another system: never charged here
    is_default: Mapped[bool] = mapped_column(default=False)
    removed_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class Payment(Base, CustomerOwned, FromAccount):
    """`is_open`: the outcome is not known yet. At most one payment per subscription and per invoice is open (partial unique indexes)."""

    __tablename__ = "payments"
    __table_args__ = (
        of_customer(),
        within_customer("invoice_id", "invoices"),
        within_customer("subscription_id", "subscriptions"),
        within_customer("payment_method_id", "payment_methods", at_commit=True),
        UniqueConstraint("business_id", "customer_id", "id"),
        UniqueConstraint("business_id", "key"),
        CheckConstraint("refunded_minor >= 0 AND refunded_minor <= amount_minor", name="refunds"),
        never_open(),
        Index(
            "uq_payments_open_invoice",
            "business_id",
            "invoice_id",
            unique=True,
            sqlite_where=text("is_open"),
            postgresql_where=text("is_open"),
        ),
        Index(
            "uq_payments_open_subscription",
            "business_id",
            "subscription_id",
            unique=True,
            sqlite_where=text("is_open AND subscription_id IS NOT NULL"),
            postgresql_where=text("is_open AND subscription_id IS NOT NULL"),
        ),
        Index("ix_payments_customer", "business_id", "customer_id", "created_at", "id"),
        Index("ix_payments_created", "business_id", "created_at", "id"),
        Index("ix_payments_subscription", "business_id", "customer_id", "subscription_id", "created_at"),
        Index("ix_payments_invoice", "business_id", "invoice_id"),
        Index("ix_payments_check", "is_open", "check_at"),
        Index("ix_payments_key", "key"),
        Index("ix_payments_reference", "business_id", "payment_account_id", "gateway_reference"),
        Index("ix_payments_account", "payment_account_id", "is_open"),
    )

    invoice_id: Mapped[str | None]
    subscription_id: Mapped[str | None]
    brand_id: Mapped[str]
    charge_type: Mapped[str]  # new, renewal, plan_change, on_demand; method: a card is saved and nothing is charged
    amount_minor: Mapped[int]
    tax_minor: Mapped[int] = mapped_column(default=0)
    currency: Mapped[str]
    status: Mapped[str]
    is_open: Mapped[bool] = mapped_column(default=True)
    unknown: Mapped[bool] = mapped_column(default=False)  # the gateway did not answer; shown as "we are checking with the bank"
    key: Mapped[str]
    attempt: Mapped[int] = mapped_column(default=1)
    off_session: Mapped[bool] = mapped_column(default=False)
    payment_method_id: Mapped[str | None]
    method: Mapped[dict[str, Any]] = mapped_column(default=dict)  # brand, last4, kind, expiry at the time
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    challenged: Mapped[bool] = mapped_column(default=False)
    payment_account_id: Mapped[str | None]  # where it is charged; None for imported payments (`account_id` is their source)
    gateway: Mapped[str]
    gateway_reference: Mapped[str | None]
    hosted_url: Mapped[str | None]
    hosted_until: Mapped[datetime | None]  # wall clock: when the hosted page expires
    working_days: Mapped[int | None]  # the bank confirms within about so many working days; the outcome is awaited, not unknown
    intent: Mapped[dict[str, Any]] = mapped_column(default=dict)  # further effects of a success, such as {method_for: [subscription ids]}
    return_url: Mapped[str | None]
    cart: Mapped[list[Any]] = mapped_column(default=list)
    discounts: Mapped[list[Any]] = mapped_column(default=list)  # copies of the discounts in its price
    billing: Mapped[dict[str, Any]] = mapped_column(default=dict)
    customer_type: Mapped[str | None]  # of a one-time purchase: consumer, business; see customer_types.concluded_type
    meta: Mapped[dict[str, Any]] = mapped_column(default=dict)
    refunded_minor: Mapped[int] = mapped_column(default=0)
    disputed_minor: Mapped[int] = mapped_column(default=0, server_default="0")  # withheld by disputes that are open or lost
    sent_at: Mapped[datetime | None]  # wall clock: when the charge was first sent
    check_at: Mapped[datetime | None]  # wall clock: when to look it up again
    fence: Mapped[int] = mapped_column(default=0)
    author: Mapped[dict[str, Any] | None]  # {type, id} of the actor who started it, see `authors.py`
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    @property
    def left_minor(self) -> int:
        """Return what the business still has of this payment: the amount without refunds and without what disputes withhold."""
        return max(self.amount_minor - self.refunded_minor - self.disputed_minor, 0) if self.status == "succeeded" else 0

    @property
    def awaits_bank(self) -> bool:
        """The bank confirms the payment within days: its outcome is awaited, and not unknown."""
        return self.is_open and self.status == "processing" and bool(self.working_days) and not self.unknown


class Refund(Base, CustomerOwned, FromAccount):
    __tablename__ = "refunds"
    __table_args__ = (
        of_customer(),
        within_customer("payment_id", "payments"),
        within_customer("invoice_id", "invoices", at_commit=True),
        within_customer("subscription_id", "subscriptions", at_commit=True),
        UniqueConstraint("business_id", "number"),
        UniqueConstraint("business_id", "key"),
        Index("ix_refunds_customer", "business_id", "customer_id", "created_at", "id"),
        Index("ix_refunds_created", "business_id", "created_at", "id"),
        Index("ix_refunds_key", "key"),
        Index("ix_refunds_check", "status", "check_at"),
    )

    payment_id: Mapped[str]
    invoice_id: Mapped[str | None]
    subscription_id: Mapped[str | None]
    brand_id: Mapped[str]
    number: Mapped[str | None]
    amount_minor: Mapped[int]
    currency: Mapped[str]
    status: Mapped[str] = mapped_column(default="pending")
    is_partial: Mapped[bool]
    reason: Mapped[str | None]
    key: Mapped[str]
    payment_account_id: Mapped[str | None]  # of its payment
    lines: Mapped[list[Any]] = mapped_column(default=list)  # [{line_id, amount_minor}]
    allocated: Mapped[list[Any] | None]  # [{line_id, amount_minor}] of its success; None before revision 0034
    withdrawn: Mapped[list[Any] | None]  # unused credit removed on request: [{quote_id, minor}]; None before revision 0020
    snapshot: Mapped[dict[str, Any] | None]
    meta: Mapped[dict[str, Any]] = mapped_column(default=dict)
    check_at: Mapped[datetime | None]
    fence: Mapped[int] = mapped_column(default=0)
    author: Mapped[dict[str, Any] | None]  # {type, id} of the actor who requested it
    by_policy: Mapped[bool] = mapped_column(default=False, server_default=false())  # the customer made it under the refund policy
    settled_at: Mapped[datetime | None]
    failed_at: Mapped[datetime | None]  # it had succeeded, and the customer's bank returned the money then
    created_at: Mapped[datetime]

    @property
    def is_made_at_processor(self) -> bool:
        """It was made in the processor's own dashboard, and is never sent from here."""
        return bool(self.author) and (self.author or {})["type"] == "processor"
