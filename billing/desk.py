"""What charging and refunding share: derived keys, leases, asking the gateway; and the three steps of a refund."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from billing import parked, refunds, unbooked
from billing.payments import Payment, Refund
from billing.ports import Gateway, Outcome
from billing.ports import Refund as RefundRequest
from core import clock, conflicts
from core.db import Database, ScopedSession
from core.errors import Conflict, NotFound
from core.money import Money
from core.scope import system
from core.settings import Settings

log = structlog.get_logger()

LEASE = timedelta(seconds=60)
RETRY = [timedelta(seconds=s) for s in (3, 10, 30, 120, 600, 1800, 3600, 6 * 3600)]


class Desk:
    def __init__(self, database: Database, gateway: Gateway | None, settings: Settings) -> None:
        self.database, self._gateway, self.settings = database, gateway, settings

    @property
    def gateway(self) -> Gateway:
        if self._gateway is None:
            raise Conflict("MERCHANT_NOT_LIVE", "Nothing can be paid here: this portal has no payment provider.")
        conflicts.note_effect()  # it is asked something now
        return self._gateway

    def key(self, business_id: str, operation: str, attempt: int) -> str:
        return f"{self.settings.mode}/{business_id}/{operation}/{attempt}"

    def start_refund(self, business_id: str, refund_id: str) -> str:
        """Send a pending refund (or ask about one that was sent) and record what came back. Returns its status."""
        with self.database.open(system(business_id), write=True) as db:
            refund = _locked(db, refund_id)
            if refund.account_id is not None or (refund.status != "pending" and not parked.is_unbooked(db, refund.id)):
                return refund.status
            payment = db.scalar(select(Payment).where(Payment.id == refund.payment_id))
            assert payment is not None
            first, age = refund.fence == 0, clock.now() - refund.created_at
            refund.check_at, refund.fence = clock.wall() + LEASE, refund.fence + 1
            request = RefundRequest(refund.key, payment.key, business_id, Money(refund.amount_minor, refund.currency))
        outcome = Outcome("not_found", request.key) if first else self._ask(lambda: self.gateway.look_up(request.key), request.key)
        if outcome.state == "not_found" and (first or age < self.gateway.resend_window):
            outcome = self._ask(lambda: self.gateway.refund(request), request.key)
        return self.record_refund(business_id, refund_id, outcome)

    def record_refund(self, business_id: str, refund_id: str, outcome: Outcome) -> str:
        try:
            return self._twice(lambda: self._record_refund(business_id, refund_id, outcome))
        except Exception as problem:  # money that went back is booked whatever breaks
            if outcome.state != "succeeded":
                raise
            log.exception("refund not recorded", refund=refund_id)
            return unbooked.book_refund(self.database, business_id, refund_id, problem)

    def _record_refund(self, business_id: str, refund_id: str, outcome: Outcome) -> str:
        with self.database.open(system(business_id), write=True) as db:
            refund = _locked(db, refund_id)
            if refund.status == "pending" or (outcome.state == "succeeded" and parked.is_unbooked(db, refund_id)):
                if outcome.state == "succeeded":
                    refunds.refunded(db, refund)
                elif outcome.final:
                    refunds.refund_failed(db, refund, outcome)
                else:
                    refund.check_at = clock.wall() + RETRY[min(refund.fence, len(RETRY) - 1)]
                    if outcome.state == "not_found":  # it went out, and is too old to be sent again
                        parked.park(db, refund, "window_over")
                if outcome.final:
                    parked.clear(db, refund_id)
            return refund.status

    def _ask(self, call: Callable[[], Outcome], key: str) -> Outcome:
        try:
            return call()
        except Exception as problem:  # whatever broke, we do not know what the gateway did
            log.warning("gateway call failed", key=key, error=type(problem).__name__)
            return Outcome("unknown", key)

    def _twice(self, step: Callable[[], str]) -> str:
        """Two outcomes at once may both write the first row of a series or a total: the second one reads it on its next try."""
        try:
            return step()
        except IntegrityError:
            return step()


def _locked(db: ScopedSession, refund_id: str) -> Refund:
    refund = db.scalar(select(Refund).where(Refund.id == refund_id).with_for_update())
    if refund is None:
        raise NotFound(sentence="There is no such refund.")
    return refund
