"""Closes payments that were never fully recorded after all of their money went back, and opens them again if money returns."""

from __future__ import annotations

from sqlalchemy import select

from billing.charging import settlement, totals
from billing.charging.reconciliation_exceptions import ReconciliationException
from billing.model.disputes import taken_by_disputes
from billing.model.events import emit_about
from billing.model.parties import Business
from billing.model.payments import Payment
from core import clock
from core.db import ScopedSession
from core.errors import N_, Conflict


def close(db: ScopedSession, payment: Payment) -> None:
    """Close a payment whose money went back by refunds and lost disputes: its purchase or period counts as unpaid.

    Raises Conflict (PAYMENT_NOT_BOOKED) if the business still has a part of the money.
    """
    if payment.refunded_minor + taken_by_disputes(db, payment) < payment.amount_minor:
        raise Conflict(
            "PAYMENT_NOT_BOOKED", N_("This payment succeeded but is not fully recorded. Finish recording it, or refund all of it first.")
        )
    business = db.scalar(select(Business))
    assert business is not None
    payment.is_open, payment.check_at = False, None
    settlement.record_unbooked(db, payment)
    # totals have what went back
    totals.add_paid(db, business, payment.customer_id, payment.amount_minor, payment.currency, at=payment.created_at)


def reopen(db: ScopedSession, business: Business, payment: Payment) -> None:
    """Open the exception of a closed payment again, because money that had gone back returned. The reconciler records the payment then."""
    mine = (ReconciliationException.id == payment.id, ReconciliationException.reason == "not_recorded")
    row = db.scalar(select(ReconciliationException).where(*mine, ReconciliationException.note.is_not(None)))
    if row is None:
        return
    row.closed_at = row.note = None
    row.noted_at = payment.check_at = clock.wall()
    totals.add_paid(db, business, payment.customer_id, -payment.amount_minor, payment.currency, at=payment.created_at)
    emit_about(
        db,
        payment,
        "reconciliation_exception.opened",
        noun=payment.id,
        reason=row.reason,
        amount=payment.amount_minor,
        currency=payment.currency,
        theirs=None,
        theirs_currency=None,
    )
