"""Money that waits for a person: the provider took another amount than was asked for, or knows nothing of a call that went out
so long ago that sending it again could take the money twice (safety 4.4), or moved money that could not be recorded in full here
(`unbooked.py`). One row per payment or refund; its `id` is theirs."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from sqlalchemy import Index, select
from sqlalchemy.orm import Mapped

from billing.payments import Payment, Refund
from core import clock
from core.db import ScopedSession
from core.models import Base, BusinessOwned
from core.money import Money
from core.outbox import emit

Reason = Literal["amount_differs", "window_over", "not_recorded"]


class Parked(Base, BusinessOwned):
    """`theirs_minor`: what the provider says it moved, in `theirs_currency`. `note`: how the person who closed it had it settled.
    `detail`: the kind of error that kept it from being booked."""

    __tablename__ = "parked_money"
    __table_args__ = (Index("ix_parked_money_open", "business_id", "closed_at", "noted_at"),)

    noun: Mapped[str]  # payment, refund
    reason: Mapped[str]
    theirs_minor: Mapped[int | None]
    theirs_currency: Mapped[str | None]
    noted_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    note: Mapped[str | None]
    detail: Mapped[str | None]


def park(
    db: ScopedSession, what: Payment | Refund, reason: Reason, theirs: Money | None = None, *, detail: str | None = None, tell: bool = True
) -> None:
    """Put it on the list, once: the reconciler comes by again and again, and says the same. `tell` False: without an event."""
    row = db.scalar(select(Parked).where(Parked.id == what.id))
    amount, currency = (theirs.minor, theirs.currency) if theirs else (None, None)
    if row is not None:
        if row.reason != reason:
            row.reason, row.theirs_minor, row.theirs_currency, row.closed_at, row.note = reason, amount, currency, None, None
            row.detail = detail
        return
    noun = "refund" if isinstance(what, Refund) else "payment"
    db.add(Parked(business_id=what.business_id, id=what.id, noun=noun, reason=reason, theirs_minor=amount, theirs_currency=currency,
                  noted_at=clock.wall(), detail=detail))
    if not tell:
        return
    emit(db, "money.parked", business_id=what.business_id, customer_id=what.customer_id, noun=what.id,
         data={"noun": noun, "reason": reason, "amount": what.amount_minor, "currency": what.currency, "theirs": amount,
               "theirs_currency": currency})


def is_unbooked(db: ScopedSession, id: str) -> bool:
    """Whether this payment or refund succeeded and was only booked in the minimal form of `unbooked.py`."""
    mine = (Parked.id == id, Parked.reason == "not_recorded", Parked.closed_at.is_(None))
    return db.scalar(select(Parked.id).where(*mine)) is not None


def clear(db: ScopedSession, id: str) -> None:
    """It settled by itself after all: nobody has to look at it any more."""
    row = db.scalar(select(Parked).where(Parked.id == id, Parked.closed_at.is_(None)))
    if row is not None:
        row.closed_at = clock.wall()
