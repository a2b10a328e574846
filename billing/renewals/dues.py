"""The dues of a subscription: its open invoice with its lines, the last decline, and a payment in progress."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from billing.model.invoices import Invoice, InvoiceLine
from billing.model.lifecycle import UNPAID_STATES
from billing.model.payments import Payment, PaymentMethod
from billing.model.subscriptions import Subscription, load_subscription
from billing.pricing import late_payment
from core.db import ScopedSession


@dataclass(frozen=True)
class DueLine:
    """Amounts in minor units of the invoice's currency; `tax_bps` 2000 = 20 %."""

    description: str
    quantity: int
    net_minor: int
    tax_minor: int
    tax_bps: int
    starts_at: datetime | None
    ends_at: datetime | None
    kind: str


@dataclass(frozen=True)
class Dues:
    """The amount to pay so that the subscription is active again.

    `error_code`: why the last payment failed (contract §1.5), None if none was tried. `method`: the method that was tried
    last, or else the subscription's. `is_checking`: a payment's outcome is unknown, so no other may be offered. `link`: a hosted
    page or a bank's page that is still open. `next_at`, `next_n`, `restarts`: see `late_payment.after_payment`.
    """

    subscription_id: str
    status: str
    invoice_id: str
    number: str
    currency: str
    lines: tuple[DueLine, ...]
    tax_minor: int
    total_minor: int
    credit_applied_minor: int  # between total and due; negative: carried over from an earlier invoice
    due_minor: int
    since: datetime | None
    error_code: str | None
    failed_at: datetime | None
    method: PaymentMethod | None
    payment_id: str | None
    is_checking: bool
    link: str | None
    next_at: datetime | None
    next_n: int
    restarts: bool


def dues(db: ScopedSession, subscription_id: str) -> Dues | None:
    """The dues of a subscription, or None. Reads only. Raises NotFound."""
    subscription = load_subscription(db, subscription_id, lock=False)
    payable = subscription.status in (*UNPAID_STATES, "active") and subscription.collected_by == "us"
    invoice = open_invoice(db, subscription) if payable else None
    if invoice is None:
        return None
    lines = db.scalars(select(InvoiceLine).where(InvoiceLine.invoice_id == invoice.id).order_by(InvoiceLine.position))
    tried = list(db.scalars(select(Payment).where(Payment.invoice_id == invoice.id).order_by(Payment.attempt.desc(), Payment.id)))
    under_way = next((item for item in tried if item.is_open), None)
    if subscription.status == "active" and not waits_for_the_bank(under_way):
        return None  # it is being charged automatically
    failed = next((item for item in tried if item.status == "failed"), None)
    used = (failed.payment_method_id if failed else None) or subscription.payment_method_id
    method = db.scalar(select(PaymentMethod).where(PaymentMethod.id == used)) if used else None
    return Dues(
        subscription.id,
        subscription.status,
        invoice.id,
        invoice.number,
        invoice.currency,
        tuple(
            DueLine(line.description, line.quantity, line.net_minor, line.tax_minor, line.tax_bps, line.starts_at, line.ends_at, line.kind)
            for line in lines
        ),
        invoice.tax_minor,
        invoice.total_minor,
        invoice.total_minor - invoice.due_minor,
        invoice.due_minor,
        subscription.on_hold_at,
        failed.error_code if failed else None,
        failed.updated_at if failed else None,
        method,
        under_way.id if under_way else None,
        under_way is not None and under_way.status in ("processing", "succeeded"),
        link_of(under_way) if under_way else None,
        *late_payment.after_payment(db, subscription, invoice),
    )


def open_invoice(db: ScopedSession, subscription: Subscription) -> Invoice | None:
    return db.scalar(
        select(Invoice)
        .where(Invoice.subscription_id == subscription.id, Invoice.status == "open", Invoice.due_minor > 0)
        .order_by(Invoice.issued_at, Invoice.id)
        .limit(1)
    )


def waits_for_the_bank(payment: Payment | None) -> bool:
    """Whether this is a renewal that waits for the customer's confirmation at the bank. It may also be paid with another method."""
    return payment is not None and payment.charge_type == "renewal" and payment.status == "requires_customer_action"


def link_of(payment: Payment) -> str | None:
    """The page where an open payment can be continued."""
    return payment.hosted_url if payment.is_open and payment.status.startswith("requires_") else None
