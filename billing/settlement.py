"""Step 3 of a charge: what an outcome does to the payment, its invoice, its subscription and the totals. One transaction.

Called by `till.py` with the payment's row locked, under the scope of its business. Recording twice changes nothing.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from billing import knowing, lifecycle, parked, plan_change_checks, plan_switch, redeeming, totals
from billing.activation import paid_for, unpaid_for
from billing.authors import actor_of
from billing.buyer_details import keep_details
from billing.calendar import nth
from billing.cart import lines_of
from billing.invoices import Invoice
from billing.invoicing import issue
from billing.methods import keep_method, method_of, method_words
from billing.parties import Business, Customer
from billing.payments import Payment, PaymentMethod
from billing.ports import Outcome
from billing.refunds import has_refund, request_refund
from billing.subscriptions import Subscription
from core import clock
from core.db import ScopedSession
from core.outbox import emit
from core.scope import Actor
from core.settings import Settings


def succeeded(db: ScopedSession, payment: Payment, outcome: Outcome, settings: Settings) -> None:
    minimal = payment.status == "succeeded" and parked.is_unbooked(db, payment.id)
    if payment.status == "succeeded" and not minimal:
        return
    was = payment.intent.get("status_before", payment.status) if minimal else payment.status
    payment.status = lifecycle.move(lifecycle.PAYMENT, was, "succeed")
    _close(payment, outcome)
    payment.error_code = payment.error_message = None
    business, customer = _business(db), _customer(db, payment)
    method = keep_method(db, payment, outcome.method) if outcome.method else _method(db, payment)
    subscription = _subscription(db, payment)
    invoice = _invoice(db, payment)
    # a purchase that was given up is over: whoever bought was told that nothing is taken, and may have bought again
    wanted = invoice.status == "open" if invoice is not None else was not in ("failed", "cancelled")
    if subscription is not None and subscription.status in ("failed", "cancelled", "expired"):
        wanted = False  # what it was for is over
    if wanted and payment.charge_type == "plan_change" and subscription is not None and invoice is None:
        wanted = plan_change_checks.still_holds(db, payment, subscription)
    if payment.charge_type == "new" and customer.blocked_at is not None and wanted:  # blocked while the payment page was open
        _unpaid(db, payment)
        wanted = False
    refunded = minimal and has_refund(db, payment)  # staff gave the money back before it could be booked in full
    is_unpaid, wanted = wanted and refunded, wanted and not refunded
    if (payment.amount_minor or payment.cart) and invoice is None and wanted:  # what costs nothing has an invoice too; a trial has none
        invoice = _issue_for(db, business, customer, payment, subscription, settings)
    if invoice is not None and wanted:
        invoice.status = lifecycle.move(lifecycle.INVOICE, invoice.status, "pay")
        invoice.paid_minor, invoice.paid_at = payment.amount_minor, clock.now()
        invoice.receipt = {"state": "paid", "at": clock.now().isoformat(), "method": method_words(payment.method)}
        payment.invoice_id = invoice.id
        emit(db, "invoice.paid", business_id=payment.business_id, customer_id=payment.customer_id, noun=invoice.id)
    if payment.amount_minor:
        totals.paid(db, business, payment.customer_id, payment.amount_minor, payment.currency)
        knowing.paid(customer, payment, method)
    _note(db, payment, "payment.succeeded", invoice_id=payment.invoice_id)
    if wanted:
        keep_details(customer, payment)
        paid_for(db, business, customer, payment, subscription, invoice, method)
    elif payment.amount_minor:
        if is_unpaid and (payment.charge_type != "plan_change" or invoice is not None):  # otherwise the plan did not change
            _unpaid(db, payment)
        if payment.charge_type == "plan_change" and subscription is not None:
            plan_switch.given_up(db, payment, subscription)
        # money that arrived for what is void, paid or over is booked, and goes back once
        if not refunded:
            request_refund(
                db, payment, payment.amount_minor, "No longer owed when it was paid", settings, actor=Actor("system"), owed=False
            )


def not_booked(db: ScopedSession, payment: Payment) -> None:
    """The money was taken, not booked, and refunded in full: what it was for is unpaid, and nothing charges it again by itself."""
    invoice = _invoice(db, payment)
    if invoice is None or invoice.status == "open":
        _unpaid(db, payment)


def declined(db: ScopedSession, payment: Payment, outcome: Outcome) -> None:
    """A definite decline: the next attempt gets the next key."""
    payment.status = lifecycle.move(lifecycle.PAYMENT, payment.status, "decline")
    _close(payment, outcome)
    payment.error_code, payment.error_message = outcome.error_code or "GENERIC_DECLINE", outcome.error_message
    _note(db, payment, "payment.failed", error_code=payment.error_code)
    _unpaid(db, payment)


def cancelled(db: ScopedSession, payment: Payment, code: str | None, words: str | None) -> None:
    """Nothing was taken, and nothing will be under this key."""
    payment.status = lifecycle.move(lifecycle.PAYMENT, payment.status, "cancel")
    payment.is_open, payment.unknown, payment.check_at = False, False, None
    payment.error_code, payment.error_message, payment.updated_at = code, words, clock.now()
    _note(db, payment, "payment.cancelled")
    _unpaid(db, payment)


def waiting(db: ScopedSession, payment: Payment, outcome: Outcome, check_at: datetime) -> None:
    """Not settled. `unknown` is shown as "we are checking with the bank"; a challenge waits for the customer."""
    payment.check_at, payment.updated_at = check_at, clock.now()
    payment.gateway_reference = outcome.reference or payment.gateway_reference
    if outcome.state == "requires_action":
        if payment.status == "processing":
            payment.status, payment.unknown = lifecycle.move(lifecycle.PAYMENT, payment.status, "challenge"), False
            payment.challenged = True
            _note(db, payment, "payment.action_required", off_session=payment.off_session)
        payment.hosted_url = outcome.redirect_url or payment.hosted_url
    elif payment.status == "processing" and outcome.state in ("unknown", "processing", "not_found"):
        if not payment.unknown and payment.hosted_url is None:  # a page that was filled in is told of below
            _note(db, payment, "payment.processing")
        payment.unknown = True
    elif outcome.state == "processing":  # the page was filled in, or the bank answered: unknown only when it is still so at the next look
        payment.status, payment.unknown = lifecycle.move(lifecycle.PAYMENT, payment.status, "process"), False
        _note(db, payment, "payment.processing")


def _unpaid(db: ScopedSession, payment: Payment) -> None:
    if payment.charge_type == "new":
        redeeming.give_back(db, payment)
    if (payment.intent or {}).get("replaced"):
        return  # the customer pays the same invoice with another method: nothing is unpaid yet
    unpaid_for(db, payment, _subscription(db, payment))


def _issue_for(db: ScopedSession, business: Business, customer: Customer, payment: Payment, subscription: Subscription | None,
               settings: Settings) -> Invoice:
    if payment.charge_type == "plan_change" and subscription is not None:
        return plan_switch.bill_payment(db, business, customer, payment, subscription, settings.is_test)
    operation = payment.key.split("/")[2]
    at = clock.now()
    ends = None
    buyer = {"tax_id": subscription.tax_id, "business_name": subscription.business_name} if subscription else payment.billing or {}
    if subscription is not None:
        ends = nth(at, subscription.zone, subscription.interval, subscription.interval_count, 1)
    return issue(
        db, business, customer, operation=operation, kind="new" if subscription else "one_time",
        lines=lines_of(payment.cart, at if subscription else None, ends), currency=payment.currency,
        subscription_id=payment.subscription_id, starts_at=at if subscription else None, ends_at=ends, billing=payment.billing,
        tax_id=buyer.get("tax_id"), business_name=buyer.get("business_name"), test_mode=settings.is_test,
    )


def _close(payment: Payment, outcome: Outcome) -> None:
    payment.is_open, payment.unknown, payment.check_at = False, False, None
    payment.gateway_reference = outcome.reference or payment.gateway_reference
    payment.challenged = payment.challenged or outcome.challenged
    payment.updated_at = clock.now()


def _business(db: ScopedSession) -> Business:
    business = db.scalar(select(Business))
    assert business is not None
    return business


def _customer(db: ScopedSession, payment: Payment) -> Customer:
    customer = db.scalar(select(Customer).where(Customer.customer_id == payment.customer_id))
    assert customer is not None
    return customer


def _method(db: ScopedSession, payment: Payment) -> PaymentMethod | None:
    method = db.scalar(select(PaymentMethod).where(PaymentMethod.id == payment.payment_method_id)) if payment.payment_method_id else None
    if method is not None:
        method.last_used_at = clock.now()
        payment.method = method_of(method)
    return method


def _subscription(db: ScopedSession, payment: Payment) -> Subscription | None:
    if payment.subscription_id is None:
        return None
    return db.scalar(select(Subscription).where(Subscription.id == payment.subscription_id).with_for_update())


def _invoice(db: ScopedSession, payment: Payment) -> Invoice | None:
    if payment.invoice_id is None:
        return None
    return db.scalar(select(Invoice).where(Invoice.id == payment.invoice_id).with_for_update())


def _note(db: ScopedSession, payment: Payment, type: str, **data: object) -> None:
    if payment.charge_type == "method":
        return  # a card was saved, or not: `payment_method.added` tells of it
    emit(db, type, business_id=payment.business_id, customer_id=payment.customer_id, noun=payment.subscription_id or payment.id,
         actor=actor_of(payment), data={
             "payment_id": payment.id, "subscription_id": payment.subscription_id, "amount": payment.amount_minor,
             "currency": payment.currency, "charge_type": payment.charge_type, "method": method_words(payment.method), **data})
