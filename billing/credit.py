"""What the current period is worth, and the credit that came of it: counted on the invoice it was paid with.

Refunded + credited ≤ paid holds on every invoice (a CHECK): a refund first removes the unused credit that the same money
produced, and money whose credit was used already cannot be refunded as well (safety 4.7).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select

from billing.credit_lines import Part, parts_of
from billing.invoices import Invoice, InvoiceLine
from billing.payments import Payment, Refund
from billing.proration import Worth
from billing.quotes import Quote
from billing.subscriptions import Subscription
from core.db import ScopedSession


def worth(db: ScopedSession, subscription: Subscription, at: datetime) -> tuple[Worth, str | None]:
    """The current period at `at`, and the invoice that paid for it. Nothing in a trial, nor where nothing was paid here."""
    assert subscription.next_billing_at is not None
    left = max(subscription.next_billing_at - at, timedelta(0))
    nothing = Worth(0, left, left), None
    if subscription.period_n == 0:
        return nothing
    mine = (Invoice.business_id == subscription.business_id, Invoice.subscription_id == subscription.id)
    paid = db.scalar(
        select(Invoice)
        .where(*mine, Invoice.status == "paid", Invoice.kind.in_(("new", "renewal")))
        .order_by(Invoice.starts_at.desc())
        .limit(1)
    )
    change = db.scalar(
        select(Quote)
        .where(Quote.business_id == subscription.business_id, Quote.subscription_id == subscription.id, Quote.applied_at.is_not(None))
        .order_by(Quote.applied_at.desc())
        .limit(1)
    )
    if (
        change is not None
        and change.applied_at
        and change.ends_at
        and (paid is None or not paid.starts_at or change.applied_at >= paid.starts_at)
    ):
        back = db.scalar(select(Invoice.refunded_minor).where(*mine, Invoice.id == change.invoice_id)) or 0
        value = max(change.value_minor - back, 0)
        return Worth(value, change.ends_at - change.applied_at, left), change.invoice_id or change.source_invoice_id
    if paid is None or paid.starts_at is None or paid.ends_at is None:
        return nothing
    return Worth(paid.value_minor - paid.refunded_minor, paid.ends_at - paid.starts_at, left), paid.id


def paid_parts(db: ScopedSession, invoice_id: str | None) -> list[Part]:
    """The tax that what an invoice sold was paid with."""
    if invoice_id is None:
        return []
    return parts_of(db.scalars(select(InvoiceLine).where(InvoiceLine.invoice_id == invoice_id).order_by(InvoiceLine.position)))


def balance_parts(db: ScopedSession, subscription: Subscription) -> list[Part]:
    """The tax that the subscription's credit was paid with: it came of its last change that left some."""
    if subscription.credit_minor <= 0:
        return []
    last = db.scalar(
        select(Quote)
        .where(Quote.business_id == subscription.business_id, Quote.subscription_id == subscription.id,
               Quote.applied_at.is_not(None), Quote.credit_minor > 0)
        .order_by(Quote.applied_at.desc())
        .limit(1)
    )
    if last is None:
        return []
    return last.credit_parts if last.credit_parts is not None else paid_parts(db, last.source_invoice_id)


def count(db: ScopedSession, quote: Quote) -> None:
    """Note on the invoice that was paid how much of it became credit."""
    invoice = _locked(db, quote.source_invoice_id)
    if invoice is not None:
        invoice.credited_minor += max(min(quote.unused_minor, invoice.paid_minor - invoice.refunded_minor - invoice.credited_minor), 0)


def spent(db: ScopedSession, payment: Payment) -> int:
    """Minor units of a payment that became credit and were used: they cannot be refunded any more."""
    invoice = _locked(db, payment.invoice_id)
    if invoice is None or not invoice.credited_minor:
        return 0
    subscription = _subscription(db, invoice)
    return max(invoice.credited_minor - sum(there for _, there in _unused(db, invoice, subscription)), 0)


def withdraw(db: ScopedSession, refund: Refund) -> int:
    """Before a refund is booked on its invoice: remove the unused credit that the same money produced. Returns how much."""
    invoice = _locked(db, refund.invoice_id)
    if invoice is None or not invoice.credited_minor:
        return 0
    subscription = _subscription(db, invoice)
    wanted = refund.amount_minor + invoice.refunded_minor + invoice.credited_minor - invoice.paid_minor
    taken = 0
    for quote, there in _unused(db, invoice, subscription):
        part = max(min(there, wanted - taken), 0)
        quote.withdrawn_minor += part
        taken += part
    if subscription is not None:
        subscription.credit_minor -= taken
    # what was used in the meantime is a refund's all the same, once the money has gone back
    invoice.credited_minor -= max(min(wanted, invoice.credited_minor), 0)
    return taken


def _unused(db: ScopedSession, invoice: Invoice, subscription: Subscription | None) -> list[tuple[Quote, int]]:
    """The changes that credited this invoice, and how much of each credit is still on the subscription."""
    left = max(subscription.credit_minor, 0) if subscription is not None else 0
    out = []
    for quote in db.scalars(
        select(Quote)
        .where(Quote.business_id == invoice.business_id, Quote.source_invoice_id == invoice.id, Quote.applied_at.is_not(None))
        .order_by(Quote.applied_at.desc())
    ):
        there = max(min(quote.credit_minor - quote.withdrawn_minor, quote.unused_minor - quote.withdrawn_minor, left), 0)
        left -= there
        out.append((quote, there))
    return out


def _subscription(db: ScopedSession, invoice: Invoice) -> Subscription | None:
    return db.scalar(
        select(Subscription)
        .where(Subscription.business_id == invoice.business_id, Subscription.id == invoice.subscription_id)
        .with_for_update()
    )


def _locked(db: ScopedSession, invoice_id: str | None) -> Invoice | None:
    return db.scalar(select(Invoice).where(Invoice.id == invoice_id).with_for_update()) if invoice_id else None
