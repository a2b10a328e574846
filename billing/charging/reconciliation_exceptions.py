"""Stores payments and refunds that need manual reconciliation, one row each with the same id.

The reasons are: the processor moved another amount than requested; it does not know a request that is too old to be sent again safely
(safety 4.4); or it moved money that could not be recorded in full here (`minimal_bookings.py`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from sqlalchemy import Index, select
from sqlalchemy.orm import Mapped

from billing.model.payments import Payment, Refund
from core import clock
from core.db import ScopedSession
from core.models import Base, BusinessOwned
from core.money import Money
from core.outbox import emit

Reason = Literal["amount_differs", "window_over", "not_recorded"]


class ReconciliationException(Base, BusinessOwned):
    """`theirs_minor`: the amount that the processor moved, in `theirs_currency`. `note`: how it was resolved.

    `detail`: the type of the error that prevented the full recording.
    """

    __tablename__ = "reconciliation_exceptions"
    __table_args__ = (Index("ix_reconciliation_exceptions_open", "business_id", "closed_at", "noted_at"),)

    noun: Mapped[str]  # payment, refund
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
    if row is not None:
        if row.reason != reason:
            row.reason, row.theirs_minor, row.theirs_currency, row.closed_at, row.note = reason, amount, currency, None, None
            row.detail = detail
        return
    noun = "refund" if isinstance(movement, Refund) else "payment"
    db.add(
        ReconciliationException(
            business_id=movement.business_id,
            id=movement.id,
            noun=noun,
            reason=reason,
            theirs_minor=amount,
            theirs_currency=currency,
            noted_at=clock.wall(),
            detail=detail,
        )
    )
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


def is_unbooked(db: ScopedSession, id: str) -> bool:
    """Return whether this payment or refund succeeded and is recorded only in the minimal form (`minimal_bookings.py`)."""
    mine = (ReconciliationException.id == id, ReconciliationException.reason == "not_recorded", ReconciliationException.closed_at.is_(None))
    return db.scalar(select(ReconciliationException.id).where(*mine)) is not None


def clear_exception(db: ScopedSession, id: str) -> None:
    """Close the exception of a payment or refund that was settled automatically."""
    row = db.scalar(select(ReconciliationException).where(ReconciliationException.id == id, ReconciliationException.closed_at.is_(None)))
    if row is not None:
        row.closed_at = clock.wall()
