"""Runs the three steps of every charge (design §6, safety §4): commit the attempt, call the gateway, record the outcome.

No gateway call runs inside a transaction. A crash at any point leaves an open payment with a known key, which `reconcile()` looks up. The
key is derived from the operation and the attempt, so the same work has the same key after a restart, a restore or a promotion. It changes
only after a definite decline.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import structlog
from sqlalchemy import select

from billing.charging import due_lookups, minimal_bookings, reconciliation_exceptions, settlement
from billing.charging.gateway_operations import GatewayOperations
from billing.charging.look_up_times import LEASE, RETRY, after_lease, next_look_up
from billing.charging.ports import ChargeOutcome, ChargeRequest, CollectRequest
from billing.model import job_names
from billing.model.gateway_notifications import GatewayNotification
from billing.model.invoices import InvoiceLine
from billing.model.parties import Business, Customer
from billing.model.payments import Payment, PaymentMethod, Refund
from billing.pricing.prices import ITEM
from core import clock, recurring_jobs
from core.db import ScopedSession
from core.errors import N_, NotFound
from core.money import Money
from core.outbox import emit
from core.scope import everything, system

log = structlog.get_logger()

CLICK_WINDOW = timedelta(minutes=10)  # a customer's payment that was not sent within this time is cancelled
PAGE_LIFE = timedelta(hours=24)  # an unfinished hosted page is closed after this time


class PaymentProcessor(GatewayOperations):
    # --- charging a saved method
    def start(self, business_id: str, payment_id: str) -> str:
        """Send an open payment (step 2) and record the outcome (step 3). Returns the payment's status.

        Safe to repeat at any time, because the gateway has at most one effect per key.
        """
        request = self._claim(business_id, payment_id)
        if request is None:
            return self.status(business_id, payment_id)
        if not request.amount:  # a trial or a free purchase: nothing is charged
            outcome = ChargeOutcome("succeeded", request.key)
        else:
            outcome = self._call_gateway(lambda: self.gateway.charge(request), request.key)
        try:
            return self.record(business_id, payment_id, outcome)
        except Exception:  # the caller gets "processing"; the reconciler looks it up and records it (safety 4.6)
            log.exception("payment outcome not recorded", payment=payment_id, state=outcome.state)
            return self.status(business_id, payment_id)

    def _claim(self, business_id: str, payment_id: str) -> ChargeRequest | None:
        at = clock.wall()
        with self.database.open(system(business_id), write=True) as db:
            payment = _locked(db, payment_id)
            if not payment.is_open or payment.payment_method_id is None or payment.status in ("requires_customer_action", "succeeded"):
                return None
            if not payment.off_session and payment.sent_at is None and clock.now() - payment.created_at > CLICK_WINDOW:
                settlement.record_cancellation(db, payment, "TRY_AGAIN_LATER", "The payment was not sent in time. Nothing was charged.")
                return None
            method = db.scalar(select(PaymentMethod).where(PaymentMethod.id == payment.payment_method_id))
            if method is None or method.held_by != "us":
                raise NotFound(sentence=N_("There is no such payment method."))
            payment.sent_at = payment.sent_at or at
            payment.check_at, payment.fence = at + LEASE, payment.fence + 1
            return ChargeRequest(
                key=payment.key,
                business_id=business_id,
                customer_id=payment.customer_id,
                method_reference=method.reference,
                amount=Money(payment.amount_minor, payment.currency),
                description=_description(db, payment),
                off_session=payment.off_session,
                return_url=payment.return_url,
            )

    # --- the hosted page
    def open_page(self, business_id: str, payment_id: str, locale: str = "en") -> str:
        """Return the URL of the gateway's page for entering a payment method, which is charged if there is an amount."""
        with self.database.open(system(business_id)) as db:
            payment = db.scalar(select(Payment).where(Payment.id == payment_id))
            if payment is None:
                raise NotFound()
            if payment.hosted_url:
                return payment.hosted_url
            customer = db.scalar(select(Customer).where(Customer.customer_id == payment.customer_id))
            business = db.scalar(select(Business))
            payment_url = f"{self.settings.base_url}/business/{business_id}/payments/{payment_id}"
            request = CollectRequest(
                key=payment.key,
                business_id=business_id,
                customer_id=payment.customer_id,
                amount=Money(payment.amount_minor, payment.currency) if payment.amount_minor else None,
                description=f"{business.name if business else ''}: {_description(db, payment)}",
                return_url=payment.return_url or payment_url,
                cancel_url=payment.return_url or payment_url,
                locale=locale,
                prefill_name=customer.name if customer else None,
            )
        page = self.gateway.collect(request)
        with self.database.open(system(business_id), write=True) as db:
            payment = _locked(db, payment_id)
            payment.hosted_url, payment.gateway_reference = page.url, page.reference
            payment.check_at = clock.wall() + timedelta(minutes=2)
        return page.url

    # --- step 3
    def record(self, business_id: str, payment_id: str, outcome: ChargeOutcome) -> str:
        """Record an outcome of the gateway. Idempotent: recording the same outcome twice changes nothing.

        A success is always recorded: in the minimal form of `minimal_bookings.py` if the full recording raises.
        """
        try:
            return self._retry_once(lambda: self._record(business_id, payment_id, outcome))
        except Exception as problem:
            if outcome.state != "succeeded":
                raise
            log.exception("payment outcome not recorded", payment=payment_id)
            return minimal_bookings.book_payment(self.database, business_id, payment_id, outcome, problem)

    def _record(self, business_id: str, payment_id: str, outcome: ChargeOutcome) -> str:
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
                settlement.record_pending(db, payment, outcome, next_look_up(payment.fence))
                if outcome.state == "not_found" and _is_too_late(payment, self.gateway.resend_window):
                    reconciliation_exceptions.record_exception(db, payment, "window_over")
            if outcome.final:
                reconciliation_exceptions.clear_exception(db, payment_id)
            return payment.status

    # --- reconciling open payments
    def reconcile(self, limit: int = 50) -> int:
        """Look up every open payment and refund that is due at the gateway. Returns how many."""
        if self._gateway is None:
            return 0
        payments, refunds = due_lookups.open_rows(self.database, limit)
        unbooked_payments, unbooked_refunds = due_lookups.unbooked_rows(self.database, limit)
        job = job_names.RECONCILIATION
        checked = recurring_jobs.run(self.database, job, [*payments, *unbooked_payments], self.check)
        return checked + recurring_jobs.run(self.database, job, [*refunds, *unbooked_refunds], self.start_refund)

    def check(self, business_id: str, payment_id: str) -> str:
        """Look up an open payment and act on the answer. "not found" is not "declined", because the request may still arrive."""
        with self.database.open(system(business_id), write=True) as db:
            payment = _locked(db, payment_id)
            taken = payment.status == "succeeded"
            if not payment.is_open and not (taken and reconciliation_exceptions.is_unbooked(db, payment_id)):
                return payment.status
            payment.fence += 1
            payment.check_at = after_lease()
            key, sent, hosted = payment.key, payment.sent_at, payment.hosted_url is not None
            saved, age = payment.payment_method_id is not None and not hosted, clock.now() - payment.created_at
            free = payment.amount_minor == 0
        if saved and free:
            if taken:
                return self.record(business_id, payment_id, ChargeOutcome("succeeded", key))
            return self.start(business_id, payment_id)
        outcome = self._call_gateway(lambda: self.gateway.look_up(key), key)
        if taken and outcome.state != "succeeded":
            return "succeeded"  # the charge succeeded before; only its full recording is missing
        if outcome.state == "not_found" and saved and (sent is None or clock.wall() - sent < self.gateway.resend_window):
            return self.start(business_id, payment_id)
        if not outcome.final and not saved and age > PAGE_LIFE:
            outcome = self._call_gateway(lambda: self.gateway.cancel(key), key)
        return self.record(business_id, payment_id, outcome)

    def cancel(self, business_id: str, payment_id: str) -> str:
        """Cancel an open payment if possible. Returns its status, which only changes with the gateway's answer."""
        with self.database.open(system(business_id)) as db:
            key = db.scalar(select(Payment.key).where(Payment.id == payment_id, Payment.is_open))
        if key is None:
            return self.status(business_id, payment_id)
        return self.record(business_id, payment_id, self._call_gateway(lambda: self.gateway.cancel(key), key))

    # --- notifications from the gateway
    def receive_notification(self, headers: Mapping[str, str], body: bytes) -> None:
        """Verify a notification and store it once under its id for the worker. Raises Unauthorized."""
        hint = self.gateway.read_notification(headers, body)
        with self.database.open(everything("store a gateway notification"), write=True) as db:
            notification_id = f"{self.gateway.name}:{hint.id}"
            if db.get(GatewayNotification, notification_id) is None:
                db.add(GatewayNotification(id=notification_id, key=hint.key, kind=hint.kind, received_at=clock.wall()))
                emit(db, "gateway.notified", data={"key": hint.key, "kind": hint.kind})

    def process_notification(self, key: str) -> None:
        """Look up the key of a notification, which is only a hint, and record the outcome.

        Unknown keys belong to another deployment and are ignored.
        """
        with self.database.open(everything("find the payment or refund of a notification")) as db:
            payment = db.execute(select(Payment.business_id, Payment.id).where(Payment.key == key, Payment.account_id.is_(None))).first()
            refund = db.execute(select(Refund.business_id, Refund.id).where(Refund.key == key, Refund.account_id.is_(None))).first()
        if payment:
            outcome = self._call_gateway(lambda: self.gateway.look_up(key), key)
            if outcome.state not in ("not_found", "unknown"):
                self.record(payment[0], payment[1], outcome)
        elif refund:
            self.start_refund(*refund)

    def status(self, business_id: str, payment_id: str) -> str:
        with self.database.open(system(business_id)) as db:
            return db.scalar(select(Payment.status).where(Payment.id == payment_id)) or "unknown"


def _locked(db: ScopedSession, payment_id: str) -> Payment:
    payment = db.scalar(select(Payment).where(Payment.id == payment_id).with_for_update())
    if payment is None:
        raise NotFound(sentence=N_("There is no such payment."))
    return payment


def _is_too_late(payment: Payment, window: timedelta) -> bool:
    """Return whether a sent charge that is unknown at the gateway may not be sent again, because the first request could still arrive."""
    charged = payment.payment_method_id is not None and payment.hosted_url is None
    return charged and payment.sent_at is not None and clock.wall() - payment.sent_at >= window


def _description(db: ScopedSession, payment: Payment) -> str:
    """Return the text that the bank shows. It comes from the issued invoice, so that a repeated call has the same text (safety 4.4)."""
    if payment.charge_type == "method":
        return "payment method"
    lines = [line.get("description", "") for line in payment.cart if line.get("kind", ITEM) == ITEM]
    if not lines:
        issued = select(InvoiceLine.description).where(InvoiceLine.invoice_id == payment.invoice_id, InvoiceLine.kind == ITEM)
        lines = list(db.scalars(issued.order_by(InvoiceLine.position)))
    return ", ".join(dict.fromkeys(lines)) or payment.charge_type.replace("_", " ")
