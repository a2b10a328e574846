"""Records a refund that failed. If it had succeeded, everything that its success recorded is undone in the same transaction.

The refund's document keeps its number, because numbers have no gaps. Pages and its PDF say that the refund failed, and when.
"""

from __future__ import annotations

from sqlalchemy import select

from billing.charging import reconciliation_exceptions, totals, unbooked_payments
from billing.charging.ports import ChargeOutcome
from billing.charging.purchase_keys import follow_money
from billing.charging.refunds import lock_subscription
from billing.model import lifecycle
from billing.model.authors import actor_of
from billing.model.disputes import taken_by_disputes
from billing.model.events import emit_about
from billing.model.invoices import Invoice, InvoiceLine
from billing.model.parties import Business
from billing.model.payments import Payment, Refund
from billing.pricing import credit
from core import clock
from core.db import ScopedSession


def record_refund_failure(db: ScopedSession, refund: Refund, outcome: ChargeOutcome) -> None:
    """Record a failed refund and restore the credit that it had removed. Tell staff of one that the customer made."""
    refund.status = lifecycle.move(lifecycle.REFUND, refund.status, "fail")
    refund.settled_at, refund.check_at = clock.now(), None
    lock_subscription(db, refund.subscription_id)
    credit.restore(db, refund)
    if refund.by_policy:
        reconciliation_exceptions.record_exception(db, refund, "refund_failed", detail=outcome.error_code)
    _emit(db, refund, outcome, was_made=False)


def reverse_refund(db: ScopedSession, refund: Refund, outcome: ChargeOutcome) -> None:
    """Undo a refund that had succeeded: the customer's bank returned the money. Tell staff, because the customer still has to get it.

    The caller has locked `refund`.
    """
    business, payment = db.scalar(select(Business)), db.scalar(select(Payment).where(Payment.id == refund.payment_id).with_for_update())
    assert business is not None and payment is not None
    is_minimal = reconciliation_exceptions.was_never_booked(db, refund.id)  # only the payment was changed
    lock_subscription(db, refund.subscription_id)
    refund.status = lifecycle.move(lifecycle.REFUND, refund.status, "reverse")
    refund.failed_at, refund.check_at = clock.now(), None
    payment.refunded_minor = max(payment.refunded_minor - refund.amount_minor, 0)
    invoice = db.scalar(select(Invoice).where(Invoice.id == refund.invoice_id).with_for_update()) if refund.invoice_id else None
    if invoice is not None and not is_minimal:
        invoice.refunded_minor -= refund.amount_minor
        _deallocate(db, invoice, refund)
    db.flush()  # before the credit returns: refunded + credited <= paid
    credit.restore(db, refund)
    if not is_minimal:
        totals.add_refunded(db, business, refund.customer_id, -refund.amount_minor, refund.currency, at=refund.settled_at)
    follow_money(db, business, payment, taken_by_disputes(db, payment))
    if payment.left_minor:
        unbooked_payments.reopen(db, business, payment)
    reconciliation_exceptions.record_exception(db, refund, "refund_failed", detail=outcome.error_code)
    _emit(db, refund, outcome, was_made=True)


def _emit(db: ScopedSession, refund: Refund, outcome: ChargeOutcome, *, was_made: bool) -> None:
    emit_about(
        db,
        refund,
        "refund.failed",
        actor=None if was_made else actor_of(refund),
        payment_id=refund.payment_id,
        amount=refund.amount_minor,
        currency=refund.currency,
        error_code=outcome.error_code,
        was_made=was_made,
        by_policy=refund.by_policy,
    )


def _deallocate(db: ScopedSession, invoice: Invoice, refund: Refund) -> None:
    """Subtract the refund from the items of its invoice. Before revision 0034 its items were stored only if they were named."""
    lines = list(db.scalars(select(InvoiceLine).where(InvoiceLine.invoice_id == invoice.id).order_by(InvoiceLine.position.desc())))
    stored = refund.allocated if refund.allocated is not None else refund.lines
    parts = {item["line_id"]: item["amount_minor"] for item in stored}
    left = refund.amount_minor
    for line in lines:
        part = min(parts.get(line.id, 0) if stored else left, line.refunded_minor)
        line.refunded_minor -= part
        left -= part
