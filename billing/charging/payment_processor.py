"""Runs the three steps of every charge (design §6, safety §4): commit the attempt, call the gateway, record the outcome.

No gateway call runs inside a transaction. A crash at any point leaves an open payment with a known key, which `reconcile()` looks up. The
key is derived from the operation and the attempt, so the same work has the same key after a restart, a restore or a promotion. It changes
only after a definite decline.
"""

from __future__ import annotations

from datetime import timedelta

import structlog
from sqlalchemy import select

from billing.charging import customer_registration, due_lookups, minimal_bookings, processor_calls, reconciliation_exceptions, settlement
from billing.charging.charge_descriptions import description_of
from billing.charging.gateway_operations import AccountOf, GatewayOperations
from billing.charging.look_up_times import LEASE, RETRY, after_lease, next_bank_look_up, next_look_up
from billing.charging.ports import ChargeOutcome, ChargeRequest
from billing.model import job_names
from billing.model.payment_accounts import PaymentAccount
from billing.model.payments import Payment, PaymentMethod
from core import clock, recurring_jobs
from core.db import ScopedSession
from core.errors import N_, NotFound
from core.money import Money
from core.scope import system

log = structlog.get_logger()

CLICK_WINDOW = timedelta(minutes=10)  # a customer's payment that was not sent within this time is cancelled
PAGE_LIFE = timedelta(hours=24)  # an unfinished hosted page is closed after this time


class PaymentProcessor(GatewayOperations):
    # --- charging a saved method
    def start(self, business_id: str, payment_id: str) -> str:
        """Send an open payment (step 2) and record the outcome (step 3). Returns the payment's status.

        Safe to repeat at any time, because the gateway has at most one effect per key.
        """
        try:
            customer_reference = customer_registration.register_payer(self, business_id, payment_id)
        except Exception:  # nothing was sent; the reconciler tries again
            log.exception("customer not registered at the payment account", payment=payment_id)
            return self.status(business_id, payment_id)
        claimed = self._claim(business_id, payment_id, customer_reference)
        if claimed is None:
            return self.status(business_id, payment_id)
        account, request = claimed
        if not request.amount:  # a trial or a free purchase: nothing is charged
            outcome = ChargeOutcome("succeeded", request.key)
        else:
            outcome = self._call(account, lambda gateway: gateway.charge(request), request.key)
        try:
            return self.record(business_id, payment_id, outcome)
        except Exception:  # the caller gets "processing"; the reconciler looks it up and records it (safety 4.6)
            log.exception("payment outcome not recorded", payment=payment_id, state=outcome.state)
            return self.status(business_id, payment_id)

    def _claim(self, business_id: str, payment_id: str, customer_reference: str) -> tuple[AccountOf, ChargeRequest] | None:
        """Record that the charge is about to be sent. None if it may not be sent (any more)."""
        at = clock.wall()
        with self.database.open(system(business_id), write=True) as db:
            payment = _locked(db, payment_id)
            if not payment.is_open or payment.payment_method_id is None or payment.status in ("requires_customer_action", "succeeded"):
                return None
            if not payment.off_session and payment.sent_at is None and clock.now() - payment.created_at > CLICK_WINDOW:
                settlement.record_cancellation(db, payment, "TRY_AGAIN_LATER", "The payment was not sent in time. Nothing was charged.")
                return None
            if not _takes_charges(db, payment) or processor_calls.is_cancelled(db, payment.key):
                if payment.sent_at is None:
                    settlement.record_cancellation(
                        db, payment, "TRY_AGAIN_LATER", "The business uses another account. Nothing was charged."
                    )
                return None
            method = db.scalar(select(PaymentMethod).where(PaymentMethod.id == payment.payment_method_id))
            if method is None or method.held_by != "us":
                raise NotFound(sentence=N_("There is no such payment method."))
            payment.sent_at = payment.sent_at or at
            payment.check_at, payment.fence = at + LEASE, payment.fence + 1
            processor_calls.record_call(db, payment, "charge", customer_reference)
            request = ChargeRequest(
                key=payment.key,
                business_id=business_id,
                customer_id=payment.customer_id,
                method_reference=method.reference,
                amount=Money(payment.amount_minor, payment.currency),
                description=description_of(db, payment),
                off_session=payment.off_session,
                return_url=payment.return_url,
                customer_reference=customer_reference,
            )
            return (business_id, payment.payment_account_id), request

    # --- step 3
    def record(self, business_id: str, payment_id: str, outcome: ChargeOutcome) -> str:
        """Record an outcome of the gateway. Idempotent: recording the same outcome twice changes nothing.

        A success is always recorded: in the minimal form of `minimal_bookings.py` if the full recording raises.
        """
        too_old = outcome.state == "not_found" and self._is_too_old(business_id, payment_id)
        try:
            return self._retry_once(lambda: self._record(business_id, payment_id, outcome, too_old))
        except Exception as problem:
            if outcome.state != "succeeded":
                raise
            log.exception("payment outcome not recorded", payment=payment_id)
            return minimal_bookings.book_payment(self.database, business_id, payment_id, outcome, problem)

    def _record(self, business_id: str, payment_id: str, outcome: ChargeOutcome, too_old: bool) -> str:
        with self.database.open(system(business_id), write=True) as db:
            payment = _locked(db, payment_id)
            if outcome.state == "succeeded":
                moved = outcome.amount or Money(0, payment.currency)
                if moved != Money(payment.amount_minor, payment.currency):
                    log.error("payment amount differs", payment=payment_id, ours=payment.amount_minor, theirs=moved.minor)
                    reconciliation_exceptions.record_exception(db, payment, "amount_differs", moved)
                    if payment.is_open:
                        payment.unknown, payment.check_at = True, clock.wall() + RETRY[-1]
                    return payment.status
                settlement.record_success(db, payment, outcome, self.settings)
            elif not payment.is_open:
                return payment.status  # already settled; only a late success still counts
            elif outcome.state == "declined":
                settlement.record_decline(db, payment, outcome)
            elif outcome.state == "cancelled":
                settlement.record_cancellation(db, payment, outcome.error_code, outcome.error_message)
            else:
                settlement.record_pending(db, payment, outcome, next_look_up(payment.fence), next_bank_look_up())
                if too_old:
                    reconciliation_exceptions.record_exception(db, payment, "window_over")
            if outcome.final:
                reconciliation_exceptions.clear_exception(db, payment_id)
            return payment.status

    # --- reconciling open payments
    def reconcile(self, limit: int = 50) -> int:
        """Look up every open payment and refund that is due at the gateway. Returns how many."""
        payments, refunds = due_lookups.open_rows(self.database, limit)
        unbooked_payments, unbooked_refunds = due_lookups.unbooked_rows(self.database, limit)
        job = job_names.RECONCILIATION
        checked = recurring_jobs.run(self.database, job, [*payments, *unbooked_payments], self.check)
        checked += recurring_jobs.run(self.database, job, [*refunds, *unbooked_refunds], self.start_refund)
        return checked + recurring_jobs.run(
            self.database, job, due_lookups.settled_refunds(self.database, limit), self.check_settled_refund
        )

    def check(self, business_id: str, payment_id: str) -> str:
        """Look up an open payment and act on the answer. "not found" is not "declined", because the request may still arrive."""
        with self.database.open(system(business_id), write=True) as db:
            payment = _locked(db, payment_id)
            taken = payment.status == "succeeded"
            if not payment.is_open and not (taken and reconciliation_exceptions.is_unbooked(db, payment_id)):
                return payment.status
            payment.fence += 1
            payment.check_at = after_lease()
            trace, sent = processor_calls.trace_of_payment(db, payment), payment.sent_at
            account = (business_id, payment.payment_account_id)
            saved, age = not processor_calls.is_collected(payment), clock.now() - payment.created_at
            expired = age > PAGE_LIFE or (payment.hosted_until is not None and payment.hosted_until <= clock.wall())
            free, takes_charges = payment.amount_minor == 0, _takes_charges(db, payment)
            is_cancelled = processor_calls.is_cancelled(db, payment.key)
        if saved and free:
            if taken:
                return self.record(business_id, payment_id, ChargeOutcome("succeeded", trace.key))
            return self.start(business_id, payment_id)
        outcome = self._call(account, lambda gateway: gateway.look_up(trace), trace.key)
        if taken and outcome.state != "succeeded":
            return "succeeded"  # the charge succeeded before; only its full recording is missing
        unwanted = (is_cancelled or not takes_charges) and outcome.state in ("not_found", "requires_action")
        if unwanted or (not saved and expired and not outcome.final and outcome.state != "processing"):
            return self.cancel(business_id, payment_id)
        if outcome.state == "not_found" and saved and (sent is None or clock.wall() - sent < self._resend_window(account)):
            return self.start(business_id, payment_id)
        return self.record(business_id, payment_id, outcome)

    def cancel(self, business_id: str, payment_id: str) -> str:
        """Cancel an open payment if possible. Returns its status, which only changes with the gateway's answer."""
        with self.database.open(system(business_id), write=True) as db:
            payment = _locked(db, payment_id)
            if not payment.is_open:
                return payment.status
            processor_calls.record_cancellation(db, payment)
            db.flush()
            trace, account = processor_calls.trace_of_payment(db, payment), (business_id, payment.payment_account_id)
        return self.record(business_id, payment_id, self._call(account, lambda gateway: gateway.cancel(trace), trace.key))

    def _is_too_old(self, business_id: str, payment_id: str) -> bool:
        """Return whether a sent charge that the gateway does not know may not be sent again: the first request could still arrive."""
        with self.database.open(system(business_id)) as db:
            payment = db.scalar(select(Payment).where(Payment.id == payment_id))
        if payment is None or processor_calls.is_collected(payment) or payment.sent_at is None:
            return False
        return clock.wall() - payment.sent_at >= self._resend_window((business_id, payment.payment_account_id))

    def follow_up(self, business_id: str, payment_id: str) -> None:
        """Look up a payment of which a notification told, open or not, and record a known outcome."""
        with self.database.open(system(business_id)) as db:
            payment = db.scalar(select(Payment).where(Payment.id == payment_id))
            if payment is None:
                return
            trace, account = processor_calls.trace_of_payment(db, payment), (business_id, payment.payment_account_id)
        outcome = self._call(account, lambda gateway: gateway.look_up(trace), trace.key)
        if outcome.state not in ("not_found", "unknown"):
            self.record(business_id, payment_id, outcome)

    def forget_method(self, business_id: str, payment_method_id: str) -> None:
        """Make the processor unable to charge a removed method. Run by the worker, which repeats it after an error."""
        with self.database.open(system(business_id)) as db:
            method = db.scalar(select(PaymentMethod).where(PaymentMethod.id == payment_method_id, PaymentMethod.removed_at.is_not(None)))
        if method is not None and method.held_by == "us" and method.payment_account_id is not None:
            self.gateway_of((business_id, method.payment_account_id)).forget(method.reference)

    def status(self, business_id: str, payment_id: str) -> str:
        with self.database.open(system(business_id)) as db:
            return db.scalar(select(Payment.status).where(Payment.id == payment_id)) or "unknown"


def _locked(db: ScopedSession, payment_id: str) -> Payment:
    payment = db.scalar(select(Payment).where(Payment.id == payment_id).with_for_update())
    if payment is None:
        raise NotFound(sentence=N_("There is no such payment."))
    return payment


def _takes_charges(db: ScopedSession, payment: Payment) -> bool:
    """Return whether the payment may be sent at its account. Not if its method was moved to another account meanwhile."""
    method_at = select(PaymentMethod.payment_account_id).where(PaymentMethod.id == payment.payment_method_id)
    if payment.payment_method_id and db.scalar(method_at) not in (None, payment.payment_account_id):
        return False
    return db.scalar(select(PaymentAccount.state).where(PaymentAccount.id == payment.payment_account_id)) == "open"
