"""What a person does about parked money: ask the provider once more, or say that it was settled there by hand."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from billing import refunds, settlement
from billing.parked import Parked
from billing.payments import Payment, Refund
from billing.ports import Outcome
from billing.till import Till
from core import clock
from core.db import ScopedSession
from core.errors import Conflict, Invalid, NotFound
from core.outbox import emit
from core.scope import Scope

NOTE_LIMIT = 500


def ask_again(till: Till, scope: Scope, id: str) -> bool:
    """Look it up at the provider now, and record what it says. Opens its own sessions. Returns whether that settled it."""
    with till.database.open(scope) as db:
        row = _parked(db, id)
    if row.noun == "refund":
        till.start_refund(row.business_id, id)
    else:
        till.check(row.business_id, id)
    with till.database.open(scope) as db:
        return db.scalar(select(Parked.id).where(Parked.id == id, Parked.closed_at.is_(None))) is None


def close_by_hand(db: ScopedSession, id: str, note: str) -> Parked:
    """The person has seen to it at the provider that nothing more is taken, or given back, under this key; what is still open here
    counts as not done, and may be tried anew under the next key. `note`: what they did. A payment that was taken and not booked is
    closed once it was refunded in full. Raises NotFound, Invalid (note), Conflict (PAYMENT_NOT_BOOKED)."""
    note = " ".join(note.split())
    if not note or len(note) > NOTE_LIMIT:
        raise Invalid(fields={"note": "Write in a sentence what was done at the provider, for whoever looks at it later."})
    row = _parked(db, id)
    if row.reason == "not_recorded":
        _close_unbooked(db, row)
    elif row.noun == "refund":
        refund = db.scalar(select(Refund).where(Refund.id == id).with_for_update())
        if refund is not None and refund.status == "pending":
            refunds.refund_failed(db, refund, Outcome("declined", refund.key, error_code="SETTLED_BY_HAND"))
    else:
        payment = db.scalar(select(Payment).where(Payment.id == id).with_for_update())
        if payment is not None and payment.is_open:
            settlement.cancelled(db, payment, "SETTLED_BY_HAND", note)
    row.closed_at, row.note = clock.wall(), note
    emit(db, "money.settled_by_hand", business_id=row.business_id, noun=id, data={"noun": row.noun, "note": note})
    return row


def _close_unbooked(db: ScopedSession, row: Parked) -> None:
    table: Any = Refund if row.noun == "refund" else Payment
    what = db.scalar(select(table).where(table.id == row.id).with_for_update())
    if isinstance(what, Payment):
        if what.refunded_minor < what.amount_minor:
            raise Conflict("PAYMENT_NOT_BOOKED", "This money was taken. Complete its booking, or refund all of it first.")
        what.is_open = False
        settlement.not_booked(db, what)
    if what is not None:
        what.check_at = None


def _parked(db: ScopedSession, id: str) -> Parked:
    row = db.scalar(select(Parked).where(Parked.id == id, Parked.closed_at.is_(None)))
    if row is None:
        raise NotFound(sentence="This is not waiting for anybody any more.")
    return row
