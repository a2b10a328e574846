"""Records each operation before it is sent to a processor, and builds the `Trace` that finds it again."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from sqlalchemy import select

from billing.charging.ports import Trace
from billing.model.payment_accounts import ProcessorCall
from billing.model.payments import Payment, Refund
from core import clock
from core.db import ScopedSession

Kind = Literal["charge", "refund", "collect"]


def record_call(db: ScopedSession, payment: Payment | Refund, kind: Kind, customer_reference: str = "") -> ProcessorCall:
    """Record that the operation of this payment or refund is about to be sent. The time of the first request is kept."""
    row = _find(db, payment.key)
    if row is None:
        row = _add(db, payment, kind)
        row.sent_at = _sent_before(payment) or clock.wall()
    row.sent_at = row.sent_at or clock.wall()
    row.customer_reference = row.customer_reference or customer_reference
    return row


def record_cancellation(db: ScopedSession, payment: Payment) -> None:
    """Record that a cancellation is about to be sent. From now on the operation is not sent again."""
    row = _find(db, payment.key) or _add(db, payment, "collect" if is_collected(payment) else "charge")
    row.sent_at = row.sent_at or _sent_before(payment)
    row.cancelled_at = row.cancelled_at or clock.wall()


def note_reference(db: ScopedSession, key: str, reference: str | None) -> None:
    """Store the processor's id of the operation, which finds it faster than the key."""
    row = _find(db, key) if reference else None
    if row is not None:
        row.reference = reference


def is_cancelled(db: ScopedSession, key: str) -> bool:
    row = _find(db, key)
    return row is not None and row.cancelled_at is not None


def trace_of_payment(db: ScopedSession, payment: Payment) -> Trace:
    row = _find(db, payment.key)
    return Trace(
        key=payment.key,
        kind="collect" if (row.kind == "collect" if row else is_collected(payment)) else "charge",
        reference=payment.gateway_reference or (row.reference if row else None),
        customer_reference=row.customer_reference if row else "",
        sent_at=row.sent_at if row else payment.sent_at,
    )


def trace_of_refund(db: ScopedSession, refund: Refund, payment: Payment) -> Trace:
    row = _find(db, refund.key)
    return Trace(
        key=refund.key,
        kind="refund",
        reference=row.reference if row else None,
        sent_at=row.sent_at if row else None,
        charge=trace_of_payment(db, payment),
    )


def is_collected(payment: Payment) -> bool:
    """Return whether the payment is made on a hosted page, not with a method that was saved before."""
    return payment.hosted_url is not None or payment.payment_method_id is None


def _find(db: ScopedSession, key: str) -> ProcessorCall | None:
    return db.scalar(select(ProcessorCall).where(ProcessorCall.id == key))


def _add(db: ScopedSession, payment: Payment | Refund, kind: Kind) -> ProcessorCall:
    row = ProcessorCall(
        business_id=payment.business_id, id=payment.key, payment_account_id=payment.payment_account_id or "", kind=kind,
        customer_reference="", sent_at=None, cancelled_at=None,
    )  # fmt: skip
    db.add(row)
    return row


def _sent_before(payment: Payment | Refund) -> datetime | None:
    return payment.sent_at if isinstance(payment, Payment) else None
