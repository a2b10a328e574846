"""Provides keys, leases and gateway calls for charges and refunds, and the three steps of a refund."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from billing.charging import minimal_bookings, reconciliation_exceptions, refund_outcomes
from billing.charging.look_up_times import after_lease, next_look_up
from billing.charging.measured_calls import Measured
from billing.charging.ports import ChargeOutcome, Gateway
from billing.charging.ports import RefundRequest as RefundRequest
from billing.model.payments import Payment, Refund
from core import clock, transaction_retry
from core.db import Database, ScopedSession
from core.errors import N_, Conflict, NotFound
from core.money import Money
from core.scope import system
from core.settings import Settings

log = structlog.get_logger()


class GatewayOperations:
    def __init__(self, database: Database, gateway: Gateway | None, settings: Settings) -> None:
        self.database, self._gateway, self.settings = database, gateway, settings

    @property
    def can_collect(self) -> bool:
        return self._gateway is not None

    @property
    def gateway(self) -> Gateway:
        if self._gateway is None:
            raise Conflict("MERCHANT_NOT_LIVE", N_("Payments are not possible: this portal has no payment provider."))
        transaction_retry.note_effect()  # a gateway call follows
        return Measured(self._gateway)

    def key(self, business_id: str, operation: str, attempt: int) -> str:
        return f"{self.settings.mode}/{business_id}/{operation}/{attempt}"

    def start_refund(self, business_id: str, refund_id: str) -> str:
        """Send a pending refund, or look it up if it was already sent, and record the outcome. Returns its status."""
        with self.database.open(system(business_id), write=True) as db:
            refund = _locked(db, refund_id)
            if refund.account_id is not None or (refund.status != "pending" and not reconciliation_exceptions.is_unbooked(db, refund.id)):
                return refund.status
            payment = db.scalar(select(Payment).where(Payment.id == refund.payment_id))
            assert payment is not None
            first, age = refund.fence == 0, clock.now() - refund.created_at
            refund.check_at, refund.fence = after_lease(), refund.fence + 1
            request = RefundRequest(refund.key, payment.key, business_id, Money(refund.amount_minor, refund.currency))
        outcome = (
            ChargeOutcome("not_found", request.key) if first else self._call_gateway(lambda: self.gateway.look_up(request.key), request.key)
        )
        if outcome.state == "not_found" and (first or age < self.gateway.resend_window):
            outcome = self._call_gateway(lambda: self.gateway.refund(request), request.key)
        return self.record_refund(business_id, refund_id, outcome)

    def record_refund(self, business_id: str, refund_id: str, outcome: ChargeOutcome) -> str:
        try:
            return self._retry_once(lambda: self._record_refund(business_id, refund_id, outcome))
        except Exception as problem:  # a refund that succeeded is always recorded
            if outcome.state != "succeeded":
                raise
            log.exception("refund not recorded", refund=refund_id)
            return minimal_bookings.book_refund(self.database, business_id, refund_id, problem)

    def _record_refund(self, business_id: str, refund_id: str, outcome: ChargeOutcome) -> str:
        with self.database.open(system(business_id), write=True) as db:
            refund = _locked(db, refund_id)
            if refund.status == "pending" or (outcome.state == "succeeded" and reconciliation_exceptions.is_unbooked(db, refund_id)):
                if outcome.state == "succeeded":
                    refund_outcomes.record_refund_success(db, refund)
                elif outcome.final:
                    refund_outcomes.record_refund_failure(db, refund, outcome)
                else:
                    refund.check_at = next_look_up(refund.fence)
                    if outcome.state == "not_found":  # it was sent, and is too old to be sent again
                        reconciliation_exceptions.record_exception(db, refund, "window_over")
                if outcome.final:
                    reconciliation_exceptions.clear_exception(db, refund_id)
            return refund.status

    def _call_gateway(self, call: Callable[[], ChargeOutcome], key: str) -> ChargeOutcome:
        try:
            return call()
        except Exception as problem:  # after any error, it is unknown what the gateway did
            log.warning("gateway call failed", key=key, error=type(problem).__name__)
            return ChargeOutcome("unknown", key)

    def _retry_once(self, step: Callable[[], str]) -> str:
        """Run `step`, and repeat it once after a conflict: a concurrent outcome may have written the first row of a series or total."""
        try:
            return step()
        except IntegrityError:
            return step()


def _locked(db: ScopedSession, refund_id: str) -> Refund:
    refund = db.scalar(select(Refund).where(Refund.id == refund_id).with_for_update())
    if refund is None:
        raise NotFound(sentence=N_("There is no such refund."))
    return refund
