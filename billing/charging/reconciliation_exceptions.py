"""Stores payments and refunds that need manual reconciliation, one row each with the same id.

The reasons are: the processor moved another amount than requested; it does not know a request that is too old to be sent again safely
(safety 4.4); or it moved money that could not be recorded in full here (`minimal_bookings.py`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from sqlalchemy import Index, or_, select
from sqlalchemy.orm import Mapped

from billing.model.payments import Payment, Refund
from core import clock
from core.db import ScopedSession
from core.models import Base, BusinessOwned
from core.money import Money
from core.outbox import emit

Reason = Literal["amount_differs", "window_over", "not_recorded", "refund_failed", "refund_exceeds", "unknown_payment"]
"""refund_failed: a refund failed after it had succeeded. refund_exceeds: a refund made at the processor is more than what is left of the
payment. unknown_payment: a refund or dispute of a payment that the portal made and does not know."""


class ReconciliationException(Base, BusinessOwned):
    """`theirs_minor`: the amount that the processor moved, in `theirs_currency`. `note`: how it was resolved.

    `detail`: the type of the error that prevented the full recording.
    """

    __tablename__ = "reconciliation_exceptions"
    __table_args__ = (Index("ix_reconciliation_exceptions_open", "business_id", "closed_at", "noted_at"),)

    noun: Mapped[str]  # payment, refund; dispute (of an unknown payment)
    reason: Mapped[str]
    theirs_minor: Mapped[int | None]
    theirs_currency: Mapped[str | None]
    noted_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    note: Mapped[str | None]
    detail: Mapped[str | None]


def record_exception(
    db: ScopedSession,
    movement: Payment | Refund,
    reason: Reason,
    theirs: Money | None = None,
    *,
    detail: str | None = None,
    with_event: bool = True,
) -> None:
    """Record an exception once. Idempotent, because the reconciler repeats it. `with_event` False: do not emit an event."""
    row = db.scalar(select(ReconciliationException).where(ReconciliationException.id == movement.id))
    amount, currency = (theirs.minor, theirs.currency) if theirs else (None, None)
    noun = "refund" if isinstance(movement, Refund) else "payment"
    if row is not None:
        if row.reason == reason:
            return
        was_closed = row.closed_at is not None
        row.reason, row.theirs_minor, row.theirs_currency, row.closed_at, row.note = reason, amount, currency, None, None
        row.detail = detail
        if not was_closed:
            return
    else:
        _add(db, (movement.business_id, movement.id), noun, reason, theirs, detail)
    if not with_event:
        return
    emit(
        db,
        "reconciliation_exception.opened",
        business_id=movement.business_id,
        customer_id=movement.customer_id,
        noun=movement.id,
        data={
            "noun": noun,
            "reason": reason,
            "amount": movement.amount_minor,
            "currency": movement.currency,
            "theirs": amount,
            "theirs_currency": currency,
        },
    )


def record_excess(db: ScopedSession, payment: Payment, reference: str, theirs: Money) -> None:
    """Record once a refund at the processor that cannot be one of this payment's.

    If the payment has an exception already, as when it is not fully recorded, the refund gets one of its own and replaces nothing.
    """
    row = db.scalar(select(ReconciliationException).where(ReconciliationException.id == payment.id))
    if row is None:
        record_exception(db, payment, "refund_exceeds", theirs, detail=reference)
    elif (row.reason, row.detail) != ("refund_exceeds", reference):
        account_id = str(payment.payment_account_id)
        record_unknown(db, payment.business_id, account_id, "refund", reference, theirs, reason="refund_exceeds")


def clear_excess(db: ScopedSession, payment: Payment, reference: str) -> None:
    """Close what `record_excess` recorded about a refund that is recorded now."""
    row = db.scalar(select(ReconciliationException).where(ReconciliationException.id == payment.id))
    if row is not None and (row.reason, row.detail) == ("refund_exceeds", reference):
        clear_exception(db, payment.id)
    clear_exception(db, f"{payment.payment_account_id}:{reference}")


def record_unknown(
    db: ScopedSession,
    business_id: str,
    account_id: str,
    noun: str,
    reference: str,
    theirs: Money,
    *,
    reason: Literal["unknown_payment", "refund_exceeds"] = "unknown_payment",
) -> None:
    """Record once a refund or dispute at an account whose payment is not known here. Its id names the account and the reference."""
    exception_id = f"{account_id}:{reference}"
    if db.scalar(select(ReconciliationException.id).where(ReconciliationException.id == exception_id)) is not None:
        return
    _add(db, (business_id, exception_id), noun, reason, theirs, reference)
    emit(
        db,
        "reconciliation_exception.opened",
        business_id=business_id,
        noun=exception_id,
        data={
            "noun": noun,
            "reason": reason,
            "amount": theirs.minor,
            "currency": theirs.currency,
            "theirs": theirs.minor,
            "theirs_currency": theirs.currency,
        },
    )


def _add(db: ScopedSession, ids: tuple[str, str], noun: str, reason: Reason, theirs: Money | None, detail: str | None) -> None:
    """`ids`: (business id, id of the exception)."""
    db.add(
        ReconciliationException(
            business_id=ids[0],
            id=ids[1],
            noun=noun,
            reason=reason,
            theirs_minor=theirs.minor if theirs else None,
            theirs_currency=theirs.currency if theirs else None,
            noted_at=clock.wall(),
            detail=detail,
        )
    )


def is_unbooked(db: ScopedSession, id: str) -> bool:
    """Return whether this payment or refund succeeded and is recorded only in the minimal form (`minimal_bookings.py`)."""
    mine = (ReconciliationException.id == id, ReconciliationException.reason == "not_recorded", ReconciliationException.closed_at.is_(None))
    return db.scalar(select(ReconciliationException.id).where(*mine)) is not None


def was_never_booked(db: ScopedSession, id: str) -> bool:
    """Return whether it is recorded only in the minimal form, also if a person closed its exception with a note."""
    mine = (ReconciliationException.id == id, ReconciliationException.reason == "not_recorded")
    is_so = or_(ReconciliationException.closed_at.is_(None), ReconciliationException.note.is_not(None))
    return db.scalar(select(ReconciliationException.id).where(*mine, is_so)) is not None


def has_other_amount(db: ScopedSession, id: str) -> bool:
    """Return whether the processor moved another amount for this payment than was requested, also if staff have settled that."""
    mine = (ReconciliationException.id == id, ReconciliationException.reason == "amount_differs")
    return db.scalar(select(ReconciliationException.id).where(*mine)) is not None


def clear_exception(db: ScopedSession, id: str) -> None:
    """Close the exception of a payment or refund that was settled automatically."""
    row = db.scalar(select(ReconciliationException).where(ReconciliationException.id == id, ReconciliationException.closed_at.is_(None)))
    if row is not None:
        row.closed_at = clock.wall()
