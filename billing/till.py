"""The three steps of every charge (design §6, safety §4): write the attempt and commit; ask the gateway; record the outcome.

No gateway call runs inside a transaction. A crash at any line leaves an open payment whose key is known; `reconcile()`
asks the gateway about it. The key changes only after a *definite* decline: it is derived from the operation and the
attempt, so the same work has the same key after a restart, a restore or a promotion.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import structlog
from sqlalchemy import or_, select

from billing import parked, settlement, unbooked
from billing.desk import LEASE, RETRY, Desk
from billing.invoices import InvoiceLine
from billing.notifications import GatewayNotification
from billing.parties import Business, Customer
from billing.payments import Payment, PaymentMethod, Refund
from billing.ports import Charge, Collect, Outcome
from billing.pricing import ITEM
from core import clock, turns
from core.db import ScopedSession
from core.errors import NotFound
from core.money import Money
from core.outbox import emit
from core.scope import everything, system

log = structlog.get_logger()

CLICK_WINDOW = timedelta(minutes=10)  # a customer's click is not first sent after this
PAGE_LIFE = timedelta(hours=24)  # a hosted page nobody finished


class Till(Desk):
    # --- charging a saved method
    def start(self, business_id: str, payment_id: str) -> str:
        """Send an open payment (step 2) and record what came back (step 3). Returns the payment's status.

        Safe to call again at any time: the gateway has at most one effect per key.
        """
        request = self._claim(business_id, payment_id)
        if request is None:
            return self.status(business_id, payment_id)
        if not request.amount:  # a trial, or something free: there is nothing to ask for
            outcome = Outcome("succeeded", request.key)
        else:
            outcome = self._ask(lambda: self.gateway.charge(request), request.key)
        try:
            return self.record(business_id, payment_id, outcome)
        except Exception:  # whoever asked hears "processing"; the reconciler asks again and records it (safety 4.6)
            log.exception("outcome not recorded", payment=payment_id, state=outcome.state)
            return self.status(business_id, payment_id)

    def _claim(self, business_id: str, payment_id: str) -> Charge | None:
        at = clock.wall()
        with self.database.open(system(business_id), write=True) as db:
            payment = _locked(db, payment_id)
            if not payment.is_open or payment.payment_method_id is None or payment.status in ("requires_customer_action", "succeeded"):
                return None
            if not payment.off_session and payment.sent_at is None and clock.now() - payment.created_at > CLICK_WINDOW:
                settlement.cancelled(db, payment, "TRY_AGAIN_LATER", "This was not sent in time. Nothing was taken.")
                return None
            method = db.scalar(select(PaymentMethod).where(PaymentMethod.id == payment.payment_method_id))
            if method is None or method.held_by != "us":
                raise NotFound(sentence="There is no such payment method.")
            payment.sent_at = payment.sent_at or at
            payment.check_at, payment.fence = at + LEASE, payment.fence + 1
            return Charge(
                key=payment.key, business_id=business_id, customer_id=payment.customer_id, method_reference=method.reference,
                amount=Money(payment.amount_minor, payment.currency), description=_words(db, payment), off_session=payment.off_session,
                return_url=payment.return_url,
            )

    # --- the hosted page
    def open_page(self, business_id: str, payment_id: str, locale: str = "en") -> str:
        """Ask the gateway for the page where a method is entered (and charged, where there is an amount). Returns its URL."""
        with self.database.open(system(business_id)) as db:
            payment = db.scalar(select(Payment).where(Payment.id == payment_id))
            if payment is None:
                raise NotFound()
            if payment.hosted_url:
                return payment.hosted_url
            customer = db.scalar(select(Customer).where(Customer.customer_id == payment.customer_id))
            business = db.scalar(select(Business))
            here = f"{self.settings.base_url}/business/{business_id}/payments/{payment_id}"
            request = Collect(
                key=payment.key, business_id=business_id, customer_id=payment.customer_id,
                amount=Money(payment.amount_minor, payment.currency) if payment.amount_minor else None,
                description=f"{business.name if business else ''}: {_words(db, payment)}", return_url=payment.return_url or here,
                cancel_url=payment.return_url or here, locale=locale, prefill_name=customer.name if customer else None,
            )
        page = self.gateway.collect(request)
        with self.database.open(system(business_id), write=True) as db:
            payment = _locked(db, payment_id)
            payment.hosted_url, payment.gateway_reference = page.url, page.reference
            payment.check_at = clock.wall() + timedelta(minutes=2)
        return page.url

    # --- step 3
    def record(self, business_id: str, payment_id: str, outcome: Outcome) -> str:
        """Write what the gateway said. Recording the same outcome twice changes nothing.

        A success is booked whatever breaks: in the minimal form of `unbooked.py` when the normal booking raises.
        """
        try:
            return self._twice(lambda: self._record(business_id, payment_id, outcome))
        except Exception as problem:
            if outcome.state != "succeeded":
                raise
            log.exception("outcome not recorded", payment=payment_id)
            return unbooked.book_payment(self.database, business_id, payment_id, outcome, problem)

    def _record(self, business_id: str, payment_id: str, outcome: Outcome) -> str:
        with self.database.open(system(business_id), write=True) as db:
            payment = _locked(db, payment_id)
            if outcome.state == "succeeded":
                moved = outcome.amount or Money(0, payment.currency)
                if moved != Money(payment.amount_minor, payment.currency):
                    log.error("amount differs", payment=payment_id, ours=payment.amount_minor, theirs=moved.minor)
                    parked.park(db, payment, "amount_differs", moved)  # a person has to look at this
                    if payment.is_open:
                        payment.unknown, payment.check_at = True, clock.wall() + RETRY[-1]
                    return payment.status
                settlement.succeeded(db, payment, outcome, self.settings)
            elif not payment.is_open:
                return payment.status  # settled already; only money that was taken after all still counts
            elif outcome.state == "declined":
                settlement.declined(db, payment, outcome)
            elif outcome.state == "cancelled":
                settlement.cancelled(db, payment, outcome.error_code, outcome.error_message)
            else:
                settlement.waiting(db, payment, outcome, clock.wall() + RETRY[min(payment.fence, len(RETRY) - 1)])
                if outcome.state == "not_found" and _is_too_late(payment, self.gateway.resend_window):
                    parked.park(db, payment, "window_over")
            if outcome.final:
                parked.clear(db, payment_id)
            return payment.status

    # --- what was left open
    def reconcile(self, limit: int = 50) -> int:
        """Ask the gateway about every open payment and refund whose time to be asked about has come. Returns how many."""
        if self._gateway is None:
            return 0
        at = clock.wall()
        with self.database.open(everything("reconcile open payments")) as db:
            due: list[list[turns.Row]] = []
            for table, is_open in ((Payment, Payment.is_open), (Refund, Refund.status == "pending")):
                query = select(table.business_id, table.id).where(
                    is_open, table.account_id.is_(None), or_(table.check_at.is_(None), table.check_at <= at),
                    turns.rested("reconcile", table.business_id, table.id))
                due.append([(business_id, one) for business_id, one in db.execute(
                    turns.in_turns(query, table.business_id, table.check_at, table.id, limit=limit))])
        payments, refunds = due
        late, late_refunds = unbooked.due(self.database, limit)
        return (turns.run(self.database, "reconcile", [*payments, *late], self.check)
                + turns.run(self.database, "reconcile", [*refunds, *late_refunds], self.start_refund))

    def check(self, business_id: str, payment_id: str) -> str:
        """Look one open payment up and act on the answer. `not found` is not `declined`: the call may still travel."""
        with self.database.open(system(business_id), write=True) as db:
            payment = _locked(db, payment_id)
            taken = payment.status == "succeeded"
            if not payment.is_open and not (taken and parked.is_unbooked(db, payment_id)):
                return payment.status
            payment.fence += 1
            payment.check_at = clock.wall() + LEASE
            key, sent, hosted = payment.key, payment.sent_at, payment.hosted_url is not None
            saved, waits = payment.payment_method_id is not None and not hosted, clock.now() - payment.created_at
            free = payment.amount_minor == 0
        if saved and free:
            if taken:
                return self.record(business_id, payment_id, Outcome("succeeded", key))
            return self.start(business_id, payment_id)
        outcome = self._ask(lambda: self.gateway.look_up(key), key)
        if taken and outcome.state != "succeeded":
            return "succeeded"  # the processor said so before; only its booking is missing
        if outcome.state == "not_found" and saved and (sent is None or clock.wall() - sent < self.gateway.resend_window):
            return self.start(business_id, payment_id)
        if not outcome.final and not saved and waits > PAGE_LIFE:
            outcome = self._ask(lambda: self.gateway.cancel(key), key)
        return self.record(business_id, payment_id, outcome)

    def cancel(self, business_id: str, payment_id: str) -> str:
        """Stop an open payment, if it is still to be stopped. Returns its status: only the gateway's word closes it."""
        with self.database.open(system(business_id)) as db:
            key = db.scalar(select(Payment.key).where(Payment.id == payment_id, Payment.is_open))
        if key is None:
            return self.status(business_id, payment_id)
        return self.record(business_id, payment_id, self._ask(lambda: self.gateway.cancel(key), key))

    # --- hints from the gateway
    def notified(self, headers: Mapping[str, str], body: bytes) -> None:
        """Verify a notification, store it once under its id, and leave it to the worker. Raises Unauthorized."""
        hint = self.gateway.read_notification(headers, body)
        with self.database.open(everything("store a gateway notification"), write=True) as db:
            one = f"{self.gateway.name}:{hint.id}"
            if db.get(GatewayNotification, one) is None:
                db.add(GatewayNotification(id=one, key=hint.key, kind=hint.kind, received_at=clock.wall()))
                emit(db, "gateway.notified", data={"key": hint.key, "kind": hint.kind})

    def follow(self, key: str) -> None:
        """A notification is a hint: state and amount come from look-up. Unknown keys (another deployment's) are ignored."""
        with self.database.open(everything("find what a notification is about")) as db:
            payment = db.execute(select(Payment.business_id, Payment.id).where(Payment.key == key, Payment.account_id.is_(None))).first()
            refund = db.execute(select(Refund.business_id, Refund.id).where(Refund.key == key, Refund.account_id.is_(None))).first()
        if payment:
            outcome = self._ask(lambda: self.gateway.look_up(key), key)
            if outcome.state not in ("not_found", "unknown"):
                self.record(payment[0], payment[1], outcome)
        elif refund:
            self.start_refund(*refund)

    def status(self, business_id: str, payment_id: str) -> str:
        with self.database.open(system(business_id)) as db:
            return db.scalar(select(Payment.status).where(Payment.id == payment_id)) or "unknown"


def _locked(db: object, payment_id: str) -> Payment:
    payment = db.scalar(select(Payment).where(Payment.id == payment_id).with_for_update())  # type: ignore[attr-defined]
    if payment is None:
        raise NotFound(sentence="There is no such payment.")
    return payment


def _is_too_late(payment: Payment, window: timedelta) -> bool:
    """A charge that went out, is not known there, and may not be sent again: its call could still arrive."""
    charged = payment.payment_method_id is not None and payment.hosted_url is None
    return charged and payment.sent_at is not None and clock.wall() - payment.sent_at >= window


def _words(db: ScopedSession, payment: Payment) -> str:
    """What the bank shows. From the issued invoice, so that a repeated call says the same (safety 4.4)."""
    if payment.charge_type == "method":
        return "payment method"
    lines = [line.get("description", "") for line in payment.cart if line.get("kind", ITEM) == ITEM]
    if not lines:
        issued = select(InvoiceLine.description).where(InvoiceLine.invoice_id == payment.invoice_id, InvoiceLine.kind == ITEM)
        lines = list(db.scalars(issued.order_by(InvoiceLine.position)))
    return ", ".join(dict.fromkeys(lines)) or payment.charge_type.replace("_", " ")
