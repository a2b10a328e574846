"""Money that moved at the processor and could not be recorded in full here: a minimal booking, and completing it later.

The minimal form touches the payment (or refund) alone: its status, what the processor said, and a row of parked money that staff
see. Invoice, subscription, keys and totals follow when the normal booking succeeds: the reconciler tries it again, and so may staff.
Until then the payment stays the open money operation of its subscription, so nothing is charged a second time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from sqlalchemy import or_, select

from billing import lifecycle, parked
from billing.parked import Parked
from billing.payments import Payment, Refund
from billing.ports import Outcome
from core import clock, turns
from core.db import Database, ScopedSession
from core.money import Money
from core.scope import everything, system

log = structlog.get_logger()


def book_payment(database: Database, business_id: str, payment_id: str, outcome: Outcome, problem: Exception) -> str:
    """The processor took the money, and recording that raised `problem`. Returns the payment's status. Raises where even this fails."""
    log.error("booked in the minimal form", payment=payment_id, error=type(problem).__name__)
    return _with_or_without_event(lambda tell: _payment(database, business_id, payment_id, outcome, problem, tell))


def book_refund(database: Database, business_id: str, refund_id: str, problem: Exception) -> str:
    """The processor gave the money back, and recording that raised `problem`. Returns the refund's status."""
    log.error("booked in the minimal form", refund=refund_id, error=type(problem).__name__)
    return _with_or_without_event(lambda tell: _refund(database, business_id, refund_id, problem, tell))


Rows = list[tuple[str, str]]
"""(business id, id)"""


def due(database: Database, limit: int) -> tuple[Rows, Rows]:
    """Payments and refunds booked in the minimal form whose completion is due to be tried again, businesses in turn; open payments
    are found as such."""
    at = clock.wall()
    found: list[Rows] = []
    with database.open(everything("money that was not booked in full")) as db:
        for table, settled in ((Payment, ~Payment.is_open), (Refund, Refund.status != "pending")):
            query = (select(Parked.business_id, Parked.id)
                     .join(table, (table.business_id == Parked.business_id) & (table.id == Parked.id))
                     .where(Parked.reason == "not_recorded", Parked.closed_at.is_(None), settled,
                            or_(table.check_at.is_(None), table.check_at <= at), turns.rested("reconcile", table.business_id, table.id)))
            found.append([(business_id, one) for business_id, one in db.execute(
                turns.in_turns(query, Parked.business_id, table.check_at, Parked.id, limit=limit))])
    return found[0], found[1]


def _payment(database: Database, business_id: str, payment_id: str, outcome: Outcome, problem: Exception, tell: bool) -> str:
    from billing.desk import RETRY

    with database.open(system(business_id), write=True) as db:
        payment = _locked(db, Payment, payment_id)
        again = parked.is_unbooked(db, payment.id)
        if payment.status == "succeeded" and not again:
            return payment.status  # it was recorded after all
        payment.check_at = clock.wall() + RETRY[min(payment.fence, len(RETRY) - 1)]
        if again:
            return payment.status
        moved = outcome.amount or Money(0, payment.currency)
        if moved != Money(payment.amount_minor, payment.currency):
            parked.park(db, payment, "amount_differs", moved, tell=tell)
            return payment.status
        payment.intent = {**payment.intent, "status_before": payment.status}
        payment.status = lifecycle.move(lifecycle.PAYMENT, payment.status, "succeed")
        payment.unknown, payment.updated_at = False, clock.now()
        payment.gateway_reference = outcome.reference or payment.gateway_reference
        parked.park(db, payment, "not_recorded", detail=type(problem).__name__, tell=tell)
        return payment.status


def _refund(database: Database, business_id: str, refund_id: str, problem: Exception, tell: bool) -> str:
    from billing.desk import RETRY

    with database.open(system(business_id), write=True) as db:
        refund = _locked(db, Refund, refund_id)
        again = parked.is_unbooked(db, refund.id)
        if refund.status == "succeeded" and not again:
            return refund.status
        refund.check_at = clock.wall() + RETRY[min(refund.fence, len(RETRY) - 1)]
        if again:
            return refund.status
        payment = _locked(db, Payment, refund.payment_id)
        payment.refunded_minor = min(payment.refunded_minor + refund.amount_minor, payment.amount_minor)
        refund.status, refund.settled_at = lifecycle.move(lifecycle.REFUND, refund.status, "succeed"), clock.now()
        parked.park(db, refund, "not_recorded", detail=type(problem).__name__, tell=tell)
        return refund.status


def _with_or_without_event(book: Callable[[bool], str]) -> str:
    """Should writing the event be what fails, the booking is made without one."""
    try:
        return book(True)
    except Exception:
        log.exception("minimal booking failed; trying without its event")
        return book(False)


def _locked(db: ScopedSession, table: Any, one: str) -> Any:
    return db.scalars(select(table).where(table.id == one).with_for_update()).one()
