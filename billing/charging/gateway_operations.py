"""Provides keys, accounts and gateway calls for charges and refunds, and the three steps of a refund."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from billing.charging import minimal_bookings, processor_calls, reconciliation_exceptions, refund_outcomes, refund_reversal
from billing.charging.hosted_tax import TaxCalculations
from billing.charging.look_up_times import after_lease, next_look_up, next_settled_look_up
from billing.charging.payment_processors import PaymentProcessors
from billing.charging.ports import ChargeOutcome, Gateway, RefundRequest
from billing.model.payments import Payment, Refund
from core import clock, transaction_retry
from core.db import Database, ScopedSession
from core.errors import N_, NotFound, Unavailable
from core.money import Money
from core.scope import system
from core.settings import Settings

log = structlog.get_logger()

SILENT = N_("The payment processor does not answer. Please try again later.")

AccountOf = tuple[str, str | None]
"""(business_id, payment_account_id)"""


class GatewayOperations:
    def __init__(self, database: Database, accounts: PaymentProcessors, settings: Settings) -> None:
        self.database, self.accounts, self.settings = database, accounts, settings
        self.taxes = TaxCalculations(accounts)

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
            is_sent_here = refund.status == "pending" and not refund.is_made_at_processor
            first, age = is_sent_here and refund.fence == 0, clock.now() - refund.created_at
            if first and payment.disputed_minor and refund.amount_minor > payment.left_minor:  # disputed since it was requested
                refund_reversal.record_refund_failure(db, refund, ChargeOutcome("declined", refund.key, error_code="PAYMENT_DISPUTED"))
                return refund.status
            refund.check_at, refund.fence = after_lease(), refund.fence + 1
            processor_calls.record_call(db, refund, "refund")
            db.flush()
            trace = processor_calls.trace_of_refund(db, refund, payment)
            assert trace.charge is not None
            request = RefundRequest(refund.key, trace.charge, business_id, Money(refund.amount_minor, refund.currency))
            account = (business_id, refund.payment_account_id)
        outcome = (
            ChargeOutcome("not_found", request.key) if first else self._call(account, lambda gateway: gateway.look_up(trace), trace.key)
        )
        if outcome.state == "not_found" and is_sent_here and (first or age < self._resend_window(account)):
            outcome = self._call(account, lambda gateway: gateway.refund(request), request.key)
        return self.record_refund(business_id, refund_id, outcome)

    def follow_up_refund(self, business_id: str, refund_id: str) -> str:
        """Look up a refund of which a notification told. One that had succeeded may have failed since. Returns its status.

        Raises Unavailable if its account does not answer and nothing else would look it up again.
        """
        with self.database.open(system(business_id)) as db:
            refund = db.scalar(select(Refund).where(Refund.id == refund_id))
            if refund is None or refund.account_id is not None or refund.status == "failed":
                return refund.status if refund else "failed"
            if refund.status == "succeeded" and not reconciliation_exceptions.is_unbooked(db, refund_id):
                payment = db.scalar(select(Payment).where(Payment.id == refund.payment_id))
                assert payment is not None
                trace = processor_calls.trace_of_refund(db, refund, payment)
            else:
                trace = None
            account = (business_id, refund.payment_account_id)
        if trace is None:
            return self.start_refund(business_id, refund_id)
        outcome = self._call(account, lambda gateway: gateway.look_up(trace), trace.key)
        if outcome.state == "unknown":
            raise Unavailable(sentence=SILENT)
        return self.record_refund(business_id, refund_id, outcome)

    def check_settled_refund(self, business_id: str, refund_id: str) -> str:
        """Look up a refund that succeeded some days ago, because no notification may have told that it failed. Returns its status."""
        with self.database.open(system(business_id), write=True) as db:
            refund = _locked(db, refund_id)
            if refund.status != "succeeded":
                return refund.status
            refund.check_at = next_settled_look_up(refund.settled_at or refund.created_at)
        return self.follow_up_refund(business_id, refund_id)

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
            if refund.status == "succeeded" and outcome.state in ("declined", "cancelled") and outcome.reference:
                refund_reversal.reverse_refund(db, refund, outcome)
            elif refund.status == "pending" or (outcome.state == "succeeded" and reconciliation_exceptions.is_unbooked(db, refund_id)):
                processor_calls.note_reference(db, refund.key, outcome.reference)
                if outcome.state == "succeeded":
                    refund_outcomes.record_refund_success(db, refund)
                elif outcome.final:
                    reconciliation_exceptions.clear_exception(db, refund_id)  # first: the failure may be one
                    refund_reversal.record_refund_failure(db, refund, outcome)
                else:
                    refund.check_at = next_look_up(refund.fence)
                    if outcome.state == "not_found":  # it was sent, and is too old to be sent again
                        reconciliation_exceptions.record_exception(db, refund, "window_over")
                if outcome.state == "succeeded":
                    reconciliation_exceptions.clear_exception(db, refund_id)
            return refund.status

    def gateway_of(self, account: AccountOf) -> Gateway:
        """Return the gateway of an account for a call. Raises Conflict MERCHANT_NOT_LIVE."""
        transaction_retry.note_effect()  # a gateway call follows
        return self.accounts.of(*account)

    def _call(self, account: AccountOf, call: Callable[[Gateway], ChargeOutcome], key: str) -> ChargeOutcome:
        """Call the gateway of an account outside of any transaction. After any error, it is unknown what the gateway did."""
        try:
            outcome = call(self.gateway_of(account))
        except Exception as problem:
            log.warning("gateway call failed", key=key, error=type(problem).__name__)
            self._note_health(account, type(problem).__name__)
            return ChargeOutcome("unknown", key)
        self._note_health(account, "no answer" if outcome.state == "unknown" else None)
        return outcome

    def _note_health(self, account: AccountOf, failure: str | None) -> None:
        try:
            self.accounts.note_health(account[0], account[1] or "", failure)
        except Exception:  # the outcome of the call matters more
            log.exception("health of a payment account not stored", account=account[1])

    def _resend_window(self, account: AccountOf) -> timedelta:
        """Return how long the same key may be sent again at this account. Zero if its kind is not available."""
        try:
            return self.accounts.of(*account).resend_window
        except Exception:
            log.exception("payment account not usable", account=account[1])
            return timedelta(0)

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
