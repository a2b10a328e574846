"""Resolves reconciliation exceptions: checks again at the processor, or closes them manually."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from billing.charging import disputes, processor_refunds, reconciliation_exceptions, refund_reversal, settlement, unbooked_payments
from billing.charging.payment_processor import PaymentProcessor
from billing.charging.ports import ChargeOutcome
from billing.charging.processor_refunds import ProcessorObject
from billing.charging.reconciliation_exceptions import ReconciliationException
from billing.model.disputes import Dispute
from billing.model.payments import Payment, Refund
from core import clock
from core.db import ScopedSession
from core.errors import N_, Invalid, NotFound
from core.outbox import emit
from core.scope import Scope

NOTE_LIMIT = 500


def check_again(processor: PaymentProcessor, scope: Scope, id: str) -> bool:
    """Look up the payment or refund at the processor and record the outcome. Returns whether that resolved the exception.

    Opens its own sessions.
    """
    with processor.database.open(scope) as db:
        row = _open_exception(db, id)
        found = _processor_object(db, row)
    if found is not None and row.noun == "dispute":
        disputes.record_dispute(processor, found)
    elif found is not None:
        processor_refunds.record_processor_refund(processor, found)
    elif row.noun == "refund":
        processor.start_refund(row.business_id, id)
    else:
        processor.check(row.business_id, id)
    if found is not None:
        _close_if_recorded(processor, scope, id, found)
    with processor.database.open(scope) as db:
        return (
            db.scalar(
                select(ReconciliationException.id).where(ReconciliationException.id == id, ReconciliationException.closed_at.is_(None))
            )
            is None
        )


def _processor_object(db: ScopedSession, row: ReconciliationException) -> ProcessorObject | None:
    """Return the refund or dispute that could not be recorded as one of ours."""
    if row.reason == "unknown_payment" or (row.reason == "refund_exceeds" and ":" in row.id):
        account_id, reference = row.id.split(":", 1)
        return ProcessorObject(row.business_id, account_id, reference)
    if row.reason != "refund_exceeds" or not row.detail:
        return None
    paid_at = db.scalar(select(Payment.payment_account_id).where(Payment.id == row.id))
    return ProcessorObject(row.business_id, paid_at, row.detail) if paid_at else None


def _close_if_recorded(processor: PaymentProcessor, scope: Scope, id: str, found: ProcessorObject) -> None:
    with processor.database.open(scope, write=True) as db:
        refund = db.scalar(select(Refund.id).where(Refund.key == processor_refunds.key_of(processor, found)))
        dispute = select(Dispute.id).where(Dispute.payment_account_id == found.account_id, Dispute.reference == found.reference)
        if refund is not None or db.scalar(dispute) is not None:
            reconciliation_exceptions.clear_exception(db, id)


def close_manually(db: ScopedSession, id: str, note: str) -> ReconciliationException:
    """Close an exception after a person made sure at the processor that no more money moves under this key.

    An open payment or refund counts as not done, and may be retried under the next key. `note` says what the person did. A payment that
    succeeded and is not fully recorded can be closed only after all of its money went back, by refunds and lost disputes.
    Raises NotFound, Invalid (note), Conflict (PAYMENT_NOT_BOOKED).
    """
    note = " ".join(note.split())
    if not note or len(note) > NOTE_LIMIT:
        raise Invalid(fields={"note": N_("Describe in one sentence what was done at the provider, for anyone who reviews this later.")})
    row = _open_exception(db, id)
    if row.reason == "not_recorded":
        _close_unbooked(db, row)
    elif row.noun == "refund":
        refund = db.scalar(select(Refund).where(Refund.id == id).with_for_update())
        if refund is not None and refund.status == "pending":
            refund_reversal.record_refund_failure(db, refund, ChargeOutcome("declined", refund.key, error_code="SETTLED_BY_HAND"))
    else:
        payment = db.scalar(select(Payment).where(Payment.id == id).with_for_update())
        if payment is not None and payment.is_open:
            settlement.record_cancellation(db, payment, "SETTLED_BY_HAND", note)
    row.closed_at, row.note = clock.wall(), note
    emit(db, "reconciliation_exception.closed", business_id=row.business_id, noun=id, data={"noun": row.noun, "note": note})
    return row


def _close_unbooked(db: ScopedSession, row: ReconciliationException) -> None:
    table: Any = Refund if row.noun == "refund" else Payment
    movement = db.scalar(select(table).where(table.id == row.id).with_for_update())
    if isinstance(movement, Payment):
        unbooked_payments.close(db, movement)
    elif movement is not None:
        movement.check_at = None


def _open_exception(db: ScopedSession, id: str) -> ReconciliationException:
    row = db.scalar(select(ReconciliationException).where(ReconciliationException.id == id, ReconciliationException.closed_at.is_(None)))
    if row is None:
        raise NotFound(sentence=N_("This is already resolved."))
    return row
