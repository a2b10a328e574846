"""Records money that moved at the processor in a minimal form, if it could not be recorded in full.

The minimal form changes only the payment or refund: its status, the processor's answer, and a reconciliation exception that staff see.
Invoice, subscription, keys and totals follow when the full recording succeeds. The reconciler and staff can repeat it. Until then the
payment stays the open payment of its subscription, so that nothing is charged twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from sqlalchemy import select

from billing.charging import reconciliation_exceptions
from billing.charging.look_up_times import next_look_up
from billing.charging.ports import ChargeOutcome
from billing.model import lifecycle
from billing.model.payments import Payment, Refund
from core import clock
from core.db import Database, ScopedSession
from core.money import Money
from core.scope import system

log = structlog.get_logger()


def book_payment(database: Database, business_id: str, payment_id: str, outcome: ChargeOutcome, problem: Exception) -> str:
    """Record a successful charge whose full recording raised `problem`. Returns the payment's status. Raises if this fails as well."""
    log.error("payment recorded in the minimal form", payment=payment_id, error=type(problem).__name__)
    return _with_or_without_event(lambda with_event: _payment(database, business_id, payment_id, outcome, problem, with_event))


def book_refund(database: Database, business_id: str, refund_id: str, problem: Exception) -> str:
    """Record a successful refund whose full recording raised `problem`. Returns the refund's status."""
    log.error("refund recorded in the minimal form", refund=refund_id, error=type(problem).__name__)
    return _with_or_without_event(lambda with_event: _refund(database, business_id, refund_id, problem, with_event))


def _payment(database: Database, business_id: str, payment_id: str, outcome: ChargeOutcome, problem: Exception, with_event: bool) -> str:
    with database.open(system(business_id), write=True) as db:
        payment: Payment = _locked(db, Payment, payment_id)
        is_unbooked = reconciliation_exceptions.is_unbooked(db, payment.id)
        if payment.status == "succeeded" and not is_unbooked:
            return payment.status  # the full recording succeeded in the meantime
        payment.check_at = next_look_up(payment.fence)
        if is_unbooked:
            return payment.status
        moved = outcome.amount or Money(0, payment.currency)
        if moved != Money(payment.amount_minor, payment.currency):
            reconciliation_exceptions.record_exception(db, payment, "amount_differs", moved, with_event=with_event)
            return payment.status
        payment.intent = {**payment.intent, "status_before": payment.status}
        payment.status = lifecycle.move(lifecycle.PAYMENT, payment.status, "succeed")
        payment.unknown, payment.updated_at = False, clock.now()
        payment.gateway_reference = outcome.reference or payment.gateway_reference
        reconciliation_exceptions.record_exception(db, payment, "not_recorded", detail=type(problem).__name__, with_event=with_event)
        return payment.status


def _refund(database: Database, business_id: str, refund_id: str, problem: Exception, with_event: bool) -> str:
    with database.open(system(business_id), write=True) as db:
        refund: Refund = _locked(db, Refund, refund_id)
        is_unbooked = reconciliation_exceptions.is_unbooked(db, refund.id)
        if refund.status == "succeeded" and not is_unbooked:
            return refund.status
        refund.check_at = next_look_up(refund.fence)
        if is_unbooked:
            return refund.status
        payment = _locked(db, Payment, refund.payment_id)
        payment.refunded_minor = min(payment.refunded_minor + refund.amount_minor, payment.amount_minor)
        refund.status, refund.settled_at = lifecycle.move(lifecycle.REFUND, refund.status, "succeed"), clock.now()
        reconciliation_exceptions.record_exception(db, refund, "not_recorded", detail=type(problem).__name__, with_event=with_event)
        return refund.status


def _with_or_without_event(book: Callable[[bool], str]) -> str:
    """Run `book` with its event. If that fails, run it without, because the event may be the cause."""
    try:
        return book(True)
    except Exception:
        log.exception("minimal booking failed, retrying without its event")
        return book(False)


def _locked(db: ScopedSession, table: Any, row_id: str) -> Any:
    return db.scalars(select(table).where(table.id == row_id).with_for_update()).one()
