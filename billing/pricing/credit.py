"""Calculates the value of the current period and records the credit from it on the invoice that paid for the period.

On every invoice, refunded + credited ≤ paid (a CHECK constraint). A refund first removes the unused credit that came from the same
money. Money whose credit was used cannot be refunded (safety 4.7). A refund removes the credit when it is requested and not when the
processor confirms it, because a renewal could use the credit in between.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, not_, select

from billing.model.disputes import Dispute, disputed_of_invoice, withholds
from billing.model.invoices import Invoice, InvoiceLine
from billing.model.payments import Payment, Refund
from billing.model.quotes import Quote
from billing.model.subscriptions import Subscription
from billing.pricing.credit_lines import Part, parts_of
from billing.pricing.proration import Worth
from billing.pricing.terms import HasCredit
from core.db import ScopedSession


def period_worth(db: ScopedSession, subscription: Subscription, at: datetime) -> tuple[Worth, str | None]:
    """Return the value of the current period at `at`, and the id of the invoice that paid for it.

    The value is zero in a trial, and if nothing was paid here.
    """
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
        source = change.invoice_id or change.source_invoice_id  # a change without an invoice uses the value of the invoice before it
        gone = _refunded_since(db, source, change.applied_at) + disputed_of_invoice(db, source, change.applied_at)
        value = max(change.value_minor - gone, 0)
        return Worth(value, change.ends_at - change.applied_at, left), source
    if paid is None or paid.starts_at is None or paid.ends_at is None:
        return nothing
    value = max(paid.value_minor - paid.refunded_minor - pending_refunds(db, paid.id) - disputed_of_invoice(db, paid.id), 0)
    return Worth(value, paid.ends_at - paid.starts_at, left), paid.id


def paid_parts(db: ScopedSession, invoice_id: str | None) -> list[Part]:
    """Return the amounts of an invoice's items by tax treatment."""
    if invoice_id is None:
        return []
    return parts_of(db.scalars(select(InvoiceLine).where(InvoiceLine.invoice_id == invoice_id).order_by(InvoiceLine.position)))


def balance_parts(db: ScopedSession, subscription: HasCredit) -> list[Part]:
    """Return the subscription's credit by tax treatment. The credit came from the last plan change that left credit."""
    if subscription.credit_minor <= 0:
        return []
    last = db.scalar(
        select(Quote)
        .where(
            Quote.business_id == subscription.business_id,
            Quote.subscription_id == subscription.id,
            Quote.applied_at.is_not(None),
            Quote.credit_minor > 0,
        )
        .order_by(Quote.applied_at.desc())
        .limit(1)
    )
    if last is None:
        return []
    return last.credit_parts if last.credit_parts is not None else paid_parts(db, last.source_invoice_id)


def pending_refunds(db: ScopedSession, invoice_id: str | None) -> int:
    """Return the minor units of an invoice in requested refunds that are not settled."""
    if invoice_id is None:
        return 0
    amount = select(func.sum(Refund.amount_minor)).where(Refund.invoice_id == invoice_id, Refund.status == "pending")
    return int(db.scalar(amount) or 0)


def _refunded_since(db: ScopedSession, invoice_id: str | None, since: datetime) -> int:
    """Return the minor units of an invoice in refunds that succeeded or are pending and were requested after `since`."""
    if invoice_id is None:
        return 0
    amount = select(func.sum(Refund.amount_minor)).where(
        Refund.invoice_id == invoice_id, Refund.status.in_(("pending", "succeeded")), Refund.created_at >= since
    )
    return int(db.scalar(amount) or 0)


def record_credit(db: ScopedSession, quote: Quote) -> None:
    """Add the credit from a plan change to `credited_minor` of the invoice that it came from."""
    invoice = _locked(db, quote.source_invoice_id)
    if invoice is not None:
        invoice.credited_minor += max(min(quote.unused_minor, _free(db, invoice)), 0)


def still_covers(db: ScopedSession, subscription: Subscription, quote: Quote) -> bool:
    """Return whether the unused time and the balance that a quote credits are still available.

    This is checked again when the charge of a plan change is settled, because that may be hours after the quote.
    """
    now, _source = period_worth(db, subscription, quote.as_of)
    unused = now.minor if quote.mode == "difference_immediately" else now.unused
    return quote.unused_minor <= unused and subscription.credit_minor >= quote.balance_minor


def spent_credit(db: ScopedSession, payment: Payment, *, lock: bool = True) -> int:
    """Return the minor units of a payment that became credit and were used, so that they cannot be refunded.

    `lock` False: for display only.
    """
    invoice = _locked(db, payment.invoice_id, lock)
    if invoice is None or not invoice.credited_minor:
        return 0
    subscription = _subscription(db, invoice, lock)
    return max(invoice.credited_minor - sum(unused for _, unused in _unused(db, invoice, subscription)), 0)


def release_spent(db: ScopedSession, payment: Payment) -> None:
    """Count used credit of a payment as its money again: the subscription ends, and everything that the credit paid goes back as well.

    The caller refunds all payments of the subscription in this transaction.
    """
    spent = spent_credit(db, payment)
    invoice = _locked(db, payment.invoice_id) if spent else None
    if invoice is not None:
        invoice.credited_minor -= spent


def withdraw(db: ScopedSession, invoice_id: str | None, amount_minor: int) -> list[dict[str, Any]]:
    """Remove the unused credit that came from the money that is now refunded: `amount_minor` of an invoice, besides what has gone already.

    Returns [{quote_id, minor}], which `restore` undoes if the refund fails. A dispute that is stored already adds nothing to what has gone.
    """
    invoice = _locked(db, invoice_id)
    if invoice is None or not invoice.credited_minor:
        return []
    subscription = _subscription(db, invoice)
    wanted = amount_minor - _free(db, invoice)
    taken: list[dict[str, Any]] = []
    for quote, unused in _unused(db, invoice, subscription):
        part = min(unused, wanted - _sum(taken))
        if part > 0:
            quote.withdrawn_minor += part
            taken.append({"quote_id": quote.id, "minor": part})
    if subscription is not None:
        subscription.credit_minor -= _sum(taken)
    invoice.credited_minor -= _sum(taken)
    return taken


def restore(db: ScopedSession, movement: Refund | Dispute) -> None:
    """Restore the credit that a failed refund, or a dispute that the business won, had removed, if its money is still there.

    If the money went back by another refund or dispute meanwhile, the credit returns when that one fails or is won as well.
    """
    db.flush()
    invoice = _locked(db, movement.invoice_id)
    ended = _withdrawn_by_ended(db, invoice) if invoice is not None else []
    if invoice is None or not ended:
        return
    subscription = _subscription(db, invoice)
    named = {part["quote_id"] for row in ended for part in row.withdrawn or ()}
    mine = select(Quote).where(Quote.business_id == invoice.business_id, Quote.id.in_(sorted(named)))
    quotes = {quote.id: quote for quote in db.scalars(mine)}
    free = max(_free(db, invoice), 0)
    for row in ended:
        kept = []
        for part in row.withdrawn or ():
            back = min(part["minor"], free)
            quotes[part["quote_id"]].withdrawn_minor -= back
            invoice.credited_minor += back
            if subscription is not None:
                subscription.credit_minor += back
            free -= back
            if back < part["minor"]:
                kept.append({**part, "minor": part["minor"] - back})
        row.withdrawn = kept


def _withdrawn_by_ended(db: ScopedSession, invoice: Invoice) -> list[Refund | Dispute]:
    """Return failed refunds, and disputes that withhold nothing (any more), that had removed credit which is not restored."""
    refunds = db.scalars(select(Refund).where(Refund.invoice_id == invoice.id, Refund.status == "failed").order_by(Refund.created_at))
    disputes = db.scalars(select(Dispute).where(Dispute.invoice_id == invoice.id, not_(withholds())).order_by(Dispute.created_at))
    return [row for row in (*refunds, *disputes) if row.withdrawn]


def _free(db: ScopedSession, invoice: Invoice) -> int:
    """Return what is left of an invoice's money, without refunds, disputes and credit. Negative if more than all of it has gone."""
    gone = invoice.refunded_minor + pending_refunds(db, invoice.id) + disputed_of_invoice(db, invoice.id)
    return invoice.paid_minor - gone - invoice.credited_minor


def _sum(parts: list[dict[str, Any]]) -> int:
    return sum(part["minor"] for part in parts)


def _unused(db: ScopedSession, invoice: Invoice, subscription: Subscription | None) -> list[tuple[Quote, int]]:
    """Return the plan changes that credited this invoice, each with the part of its credit that is still unused."""
    left = max(subscription.credit_minor, 0) if subscription is not None else 0
    out = []
    for quote in db.scalars(
        select(Quote)
        .where(Quote.business_id == invoice.business_id, Quote.source_invoice_id == invoice.id, Quote.applied_at.is_not(None))
        .order_by(Quote.applied_at.desc())
    ):
        unused = max(min(quote.credit_minor - quote.withdrawn_minor, quote.unused_minor - quote.withdrawn_minor, left), 0)
        left -= unused
        out.append((quote, unused))
    return out


def _subscription(db: ScopedSession, invoice: Invoice, lock: bool = True) -> Subscription | None:
    mine = select(Subscription).where(Subscription.business_id == invoice.business_id, Subscription.id == invoice.subscription_id)
    return db.scalar(mine.with_for_update() if lock else mine)


def _locked(db: ScopedSession, invoice_id: str | None, lock: bool = True) -> Invoice | None:
    invoice = select(Invoice).where(Invoice.id == invoice_id)
    return db.scalar(invoice.with_for_update() if lock else invoice) if invoice_id else None
