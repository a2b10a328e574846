"""What the current period is worth, and the credit that came of it: counted on the invoice it was paid with.

Refunded + credited ≤ paid holds on every invoice (a CHECK): a refund first removes the unused credit that the same money
produced, and money whose credit was used already cannot be refunded as well (safety 4.7). A refund removes that credit when it is
requested, not when the processor confirms it: in between, a renewal could use the credit.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select

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
        source = change.invoice_id or change.source_invoice_id  # a change without an invoice lives on what was paid before
        value = max(change.value_minor - _refunded_since(db, source, change.applied_at), 0)
        return Worth(value, change.ends_at - change.applied_at, left), source
    if paid is None or paid.starts_at is None or paid.ends_at is None:
        return nothing
    value = max(paid.value_minor - paid.refunded_minor - pending(db, paid.id), 0)
    return Worth(value, paid.ends_at - paid.starts_at, left), paid.id


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


def pending(db: ScopedSession, invoice_id: str | None) -> int:
    """Minor units of an invoice whose refund was requested and is not settled: they are spoken for."""
    if invoice_id is None:
        return 0
    asked = select(func.sum(Refund.amount_minor)).where(Refund.invoice_id == invoice_id, Refund.status == "pending")
    return int(db.scalar(asked) or 0)


def _refunded_since(db: ScopedSession, invoice_id: str | None, since: datetime) -> int:
    """Minor units of an invoice that were refunded, or whose refund is under way, since a change took its value from it."""
    if invoice_id is None:
        return 0
    asked = select(func.sum(Refund.amount_minor)).where(
        Refund.invoice_id == invoice_id, Refund.status.in_(("pending", "succeeded")), Refund.created_at >= since
    )
    return int(db.scalar(asked) or 0)


def count(db: ScopedSession, quote: Quote) -> None:
    """Note on the invoice that was paid how much of it became credit."""
    invoice = _locked(db, quote.source_invoice_id)
    if invoice is not None:
        free = invoice.paid_minor - invoice.refunded_minor - invoice.credited_minor - pending(db, invoice.id)
        invoice.credited_minor += max(min(quote.unused_minor, free), 0)


def still_covers(db: ScopedSession, subscription: Subscription, quote: Quote) -> bool:
    """Whether the money that a quote counts on is still there: the unused part of the period it credits, and the balance it uses.

    Asked again when the charge of a plan change is settled, because hours may lie between the quote and its payment.
    """
    now, _source = worth(db, subscription, quote.as_of)
    unused = now.minor if quote.mode == "difference_immediately" else now.unused
    return quote.unused_minor <= unused and subscription.credit_minor >= quote.balance_minor


def spent(db: ScopedSession, payment: Payment, *, lock: bool = True) -> int:
    """Minor units of a payment that became credit and were used: they cannot be refunded any more. `lock` False: only to show it."""
    invoice = _locked(db, payment.invoice_id, lock)
    if invoice is None or not invoice.credited_minor:
        return 0
    subscription = _subscription(db, invoice, lock)
    return max(invoice.credited_minor - sum(there for _, there in _unused(db, invoice, subscription)), 0)


def withdraw(db: ScopedSession, invoice_id: str | None, amount_minor: int) -> list[dict[str, Any]]:
    """For a refund of so much of an invoice: remove the unused credit that the same money produced.

    Returns [{quote_id, minor}], which `restore` takes back when the refund fails.
    """
    invoice = _locked(db, invoice_id)
    if invoice is None or not invoice.credited_minor:
        return []
    subscription = _subscription(db, invoice)
    wanted = amount_minor + invoice.refunded_minor + invoice.credited_minor - invoice.paid_minor
    taken: list[dict[str, Any]] = []
    for quote, there in _unused(db, invoice, subscription):
        part = min(there, wanted - _sum(taken))
        if part > 0:
            quote.withdrawn_minor += part
            taken.append({"quote_id": quote.id, "minor": part})
    if subscription is not None:
        subscription.credit_minor -= _sum(taken)
    invoice.credited_minor -= _sum(taken)
    return taken


def restore(db: ScopedSession, refund: Refund) -> None:
    """The refund failed: the credit it had removed is there again."""
    invoice = _locked(db, refund.invoice_id) if refund.withdrawn else None
    if invoice is None or not refund.withdrawn:
        return
    parts = {one["quote_id"]: one["minor"] for one in refund.withdrawn}
    for quote in db.scalars(select(Quote).where(Quote.business_id == invoice.business_id, Quote.id.in_(sorted(parts)))):
        quote.withdrawn_minor -= parts[quote.id]
    subscription = _subscription(db, invoice)
    if subscription is not None:
        subscription.credit_minor += sum(parts.values())
    invoice.credited_minor += sum(parts.values())
    refund.withdrawn = []


def _sum(parts: list[dict[str, Any]]) -> int:
    return sum(one["minor"] for one in parts)


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


def _subscription(db: ScopedSession, invoice: Invoice, lock: bool = True) -> Subscription | None:
    mine = select(Subscription).where(Subscription.business_id == invoice.business_id, Subscription.id == invoice.subscription_id)
    return db.scalar(mine.with_for_update() if lock else mine)


def _locked(db: ScopedSession, invoice_id: str | None, lock: bool = True) -> Invoice | None:
    one = select(Invoice).where(Invoice.id == invoice_id)
    return db.scalar(one.with_for_update() if lock else one) if invoice_id else None
