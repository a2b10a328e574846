"""What is due for a subscription: its open invoice with its lines, the last decline, and a payment that is under way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from billing import late_payment
from billing.calendar import nth
from billing.invoices import Invoice, InvoiceLine
from billing.payments import Payment, PaymentMethod
from billing.subscriptions import Subscription
from core.db import ScopedSession
from core.errors import NotFound

UNPAID = ("on_hold", "past_due")


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
    """What is to be paid so that the subscription starts again.

    `error_code`: why the last payment failed (contract §1.5), None when none was tried. `method`: what was tried, or would
    be. `is_checking`: a payment's outcome is not known, so no other may be offered. `link`: a hosted page or a bank's
    question that is still open and may be continued. `next_at`: when the next period (`next_n`) is charged if this is paid now; None
    when there is no further charge. `restarts`: the period then starts on the day of the payment.
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
    """What is due, or None when nothing is. Reads only. Raises NotFound."""
    subscription = db.scalar(select(Subscription).where(Subscription.id == subscription_id))
    if subscription is None:
        raise NotFound(sentence="There is no such subscription.")
    payable = subscription.status in (*UNPAID, "active") and subscription.collected_by == "us"
    invoice = open_invoice(db, subscription) if payable else None
    if invoice is None:
        return None
    lines = db.scalars(select(InvoiceLine).where(InvoiceLine.invoice_id == invoice.id).order_by(InvoiceLine.position))
    tried = list(db.scalars(select(Payment).where(Payment.invoice_id == invoice.id).order_by(Payment.attempt.desc(), Payment.id)))
    under_way = next((one for one in tried if one.is_open), None)
    if subscription.status == "active" and not waits_for_the_bank(under_way):
        return None  # being charged by itself
    failed = next((one for one in tried if one.status == "failed"), None)
    used = (failed.payment_method_id if failed else None) or subscription.payment_method_id
    method = db.scalar(select(PaymentMethod).where(PaymentMethod.id == used)) if used else None
    n, next_at, restarts = _after_payment(db, subscription, invoice)
    return Dues(
        subscription.id, subscription.status, invoice.id, invoice.number, invoice.currency,
        tuple(DueLine(one.description, one.quantity, one.net_minor, one.tax_minor, one.tax_bps, one.starts_at, one.ends_at, one.kind)
              for one in lines),
        invoice.tax_minor, invoice.total_minor, invoice.total_minor - invoice.due_minor, invoice.due_minor, subscription.on_hold_at,
        failed.error_code if failed else None, failed.updated_at if failed else None, method, under_way.id if under_way else None,
        under_way is not None and under_way.status in ("processing", "succeeded"), link_of(under_way) if under_way else None,
        next_at, n + 1, restarts,
    )


def _after_payment(db: ScopedSession, subscription: Subscription, invoice: Invoice) -> tuple[int, datetime | None, bool]:
    """The period that is running once the invoice is paid, when the next one is charged, and whether the cycle starts anew."""
    n = int(invoice.operation.rsplit(":", 1)[1]) if invoice.kind == "renewal" else subscription.period_n
    if subscription.anchor_at is None or subscription.next_billing_at is None:
        return n, None, False
    if invoice.kind == "renewal" and subscription.status == "on_hold":
        after = late_payment.dates_after(db, subscription, n)
        n, next_at, restarts = after.n, after.next_at, after.restarted
    else:
        next_at, restarts = nth(subscription.anchor_at, subscription.zone, subscription.interval, subscription.interval_count,
                                n - subscription.anchor_n), False
    over = subscription.cancel_at_period_end or (subscription.expires_at is not None and next_at >= subscription.expires_at)
    return n, None if over else next_at, restarts


def open_invoice(db: ScopedSession, subscription: Subscription) -> Invoice | None:
    return db.scalar(select(Invoice).where(Invoice.subscription_id == subscription.id, Invoice.status == "open", Invoice.due_minor > 0)
                     .order_by(Invoice.issued_at, Invoice.id).limit(1))


def waits_for_the_bank(payment: Payment | None) -> bool:
    """A renewal whose bank wants the customer's confirmation: it can be continued, or paid with another method."""
    return payment is not None and payment.charge_type == "renewal" and payment.status == "requires_customer_action"


def link_of(payment: Payment) -> str | None:
    """The page where an open payment is continued."""
    return payment.hosted_url if payment.is_open and payment.status.startswith("requires_") else None
