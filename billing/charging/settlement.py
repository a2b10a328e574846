"""Records the outcome of a charge (step 3) on the payment, its invoice, its subscription and the totals, in one transaction.

`payment_processor.py` calls it under the scope of the business, with the payment's row locked. Recording twice changes nothing.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from billing.charging import discount_redemption, plan_change_checks, plan_change_effects, recognition, reconciliation_exceptions, totals
from billing.charging.method_details import method_label, method_snapshot, receipt_label, save_method
from billing.charging.payment_effects import apply_failed_payment, apply_payment
from billing.charging.ports import ChargeOutcome
from billing.charging.purchase_keys import follow_money
from billing.charging.refunds import has_refund, request_refund
from billing.documents.issuing import issue
from billing.model import lifecycle
from billing.model.authors import actor_of
from billing.model.buyer_details import keep_details
from billing.model.disputes import taken_by_disputes
from billing.model.events import emit_about
from billing.model.invoices import Invoice
from billing.model.parties import Business, Customer
from billing.model.payments import Payment, PaymentMethod
from billing.model.subscriptions import Subscription
from billing.pricing.calendar import nth
from billing.pricing.line_items import lines_of
from core import clock
from core.db import ScopedSession
from core.outbox import emit
from core.scope import Actor
from core.settings import Settings


def record_success(db: ScopedSession, payment: Payment, outcome: ChargeOutcome, settings: Settings) -> None:
    """Record a successful charge. Money that is not owed any more is refunded."""
    minimal = payment.status == "succeeded" and reconciliation_exceptions.is_unbooked(db, payment.id)
    if payment.status == "succeeded" and not minimal:
        return
    was = payment.intent.get("status_before", payment.status) if minimal else payment.status
    payment.status = lifecycle.move(lifecycle.PAYMENT, was, "succeed")
    _close(payment, outcome)
    payment.error_code = payment.error_message = None
    business, customer = _business(db), _customer(db, payment)
    method = save_method(db, payment, outcome.method) if outcome.method else _method(db, payment)
    subscription = _subscription(db, payment)
    invoice = _invoice(db, payment)
    # a failed purchase is over: the customer was told that nothing was charged, and may have bought again
    wanted = invoice.status == "open" if invoice is not None else was not in ("failed", "cancelled")
    if subscription is not None and subscription.status in lifecycle.ENDED:
        wanted = False  # the subscription has ended
    if wanted and payment.charge_type == "plan_change" and subscription is not None and invoice is None:
        wanted = plan_change_checks.is_still_valid(db, payment, subscription)
    if payment.charge_type == "new" and customer.blocked_at is not None and wanted:  # blocked while the payment page was open
        _unpaid(db, payment)
        wanted = False
    refunded = minimal and has_refund(db, payment)  # staff refunded it before it was fully recorded
    is_unpaid, wanted = wanted and refunded, wanted and not refunded
    if (payment.amount_minor or payment.cart) and invoice is None and wanted:  # a free purchase has an invoice, a trial has none
        invoice = _issue_for(db, business, customer, payment, subscription, settings)
    if invoice is not None and wanted:
        invoice.status = lifecycle.move(lifecycle.INVOICE, invoice.status, "pay")
        invoice.paid_minor, invoice.paid_at = payment.amount_minor, clock.now()
        invoice.receipt = {"state": "paid", "at": clock.now().isoformat(), "method": receipt_label(payment.method)}
        payment.invoice_id = invoice.id
        emit_about(db, invoice, "invoice.paid")
    if payment.amount_minor:
        totals.add_paid(db, business, payment.customer_id, payment.amount_minor, payment.currency)
        recognition.record_payment(customer, payment, method)
    _emit(db, payment, "payment.succeeded", invoice_id=payment.invoice_id)
    if wanted:
        keep_details(customer, payment)
        apply_payment(db, business, customer, payment, subscription=subscription, invoice=invoice, method=method)
        if payment.disputed_minor:  # lost before it was fully recorded
            follow_money(db, business, payment, taken_by_disputes(db, payment), why="disputed")
    elif payment.amount_minor:
        if is_unpaid and (payment.charge_type != "plan_change" or invoice is not None):  # otherwise the plan was not changed
            _unpaid(db, payment)
        if payment.charge_type == "plan_change" and subscription is not None:
            plan_change_effects.record_abandoned(db, payment, subscription)
        # money for something void, already paid or ended is recorded and refunded once
        if not refunded:
            request_refund(
                db, payment, payment.amount_minor, "No longer owed when the payment arrived", settings, actor=Actor("system"), owed=False
            )


def record_unbooked(db: ScopedSession, payment: Payment) -> None:
    """Record a charge that was never fully recorded and was refunded in full: its purchase or period counts as unpaid."""
    invoice = _invoice(db, payment)
    if invoice is None or invoice.status == "open":
        _unpaid(db, payment)


def record_decline(db: ScopedSession, payment: Payment, outcome: ChargeOutcome) -> None:
    """Record a definite decline. The next attempt gets the next key."""
    payment.status = lifecycle.move(lifecycle.PAYMENT, payment.status, "decline")
    _close(payment, outcome)
    payment.error_code, payment.error_message = outcome.error_code or "GENERIC_DECLINE", outcome.error_message
    _emit(db, payment, "payment.failed", error_code=payment.error_code)
    _unpaid(db, payment)


def record_cancellation(db: ScopedSession, payment: Payment, code: str | None, message: str | None) -> None:
    """Record that nothing was charged, and that nothing will be charged under this key."""
    payment.status = lifecycle.move(lifecycle.PAYMENT, payment.status, "cancel")
    payment.is_open, payment.unknown, payment.check_at = False, False, None
    payment.error_code, payment.error_message, payment.updated_at = code, message, clock.now()
    _emit(db, payment, "payment.cancelled")
    _unpaid(db, payment)


def record_pending(db: ScopedSession, payment: Payment, outcome: ChargeOutcome, check_at: datetime, check_bank_at: datetime) -> None:
    """Record an outcome that is not final. `unknown` is shown as "we are checking with the bank"; a challenge waits for the customer.

    A payment that the bank confirms within days is not unknown, and is looked up again at `check_bank_at`.
    """
    payment.check_at, payment.updated_at = check_at, clock.now()
    payment.gateway_reference = outcome.reference or payment.gateway_reference
    if outcome.working_days and outcome.state == "processing":
        _await_bank(db, payment, outcome.working_days, check_bank_at)
    elif payment.working_days and outcome.state == "unknown":
        payment.check_at = check_bank_at  # only this look-up failed
    elif outcome.state == "requires_action":
        if payment.status == "processing":
            payment.status, payment.unknown = lifecycle.move(lifecycle.PAYMENT, payment.status, "challenge"), False
            payment.challenged = True
            _emit(db, payment, "payment.action_required", off_session=payment.off_session)
        payment.hosted_url = outcome.redirect_url or payment.hosted_url
    elif payment.status == "processing" and outcome.state in ("unknown", "processing", "not_found"):
        if not payment.unknown and payment.hosted_url is None:  # a hosted page is handled below
            _emit(db, payment, "payment.processing")
        payment.unknown = True
    elif outcome.state == "processing":  # the page was submitted or the bank answered; it becomes unknown only at the next look-up
        payment.status, payment.unknown = lifecycle.move(lifecycle.PAYMENT, payment.status, "process"), False
        _emit(db, payment, "payment.processing")


def _await_bank(db: ScopedSession, payment: Payment, working_days: int, check_at: datetime) -> None:
    if payment.status != "processing":
        payment.status = lifecycle.move(lifecycle.PAYMENT, payment.status, "process")
    if payment.working_days is None:
        _emit(db, payment, "payment.processing")
    payment.working_days, payment.unknown, payment.check_at = working_days, False, check_at


def _unpaid(db: ScopedSession, payment: Payment) -> None:
    if payment.charge_type == "new":
        discount_redemption.release(db, payment)
    if (payment.intent or {}).get("replaced"):
        return  # the customer pays the same invoice with another method: nothing is unpaid yet
    apply_failed_payment(db, payment, _subscription(db, payment))


def _issue_for(
    db: ScopedSession, business: Business, customer: Customer, payment: Payment, subscription: Subscription | None, settings: Settings
) -> Invoice:
    if payment.charge_type == "plan_change" and subscription is not None:
        return plan_change_effects.bill_payment(db, business, customer, payment, subscription, settings.is_test)
    operation = payment.key.split("/")[2]
    at = clock.now()
    ends = None
    buyer = {"tax_id": subscription.tax_id, "business_name": subscription.business_name} if subscription else payment.billing or {}
    if subscription is not None:
        ends = nth(at, subscription.zone, subscription.interval, subscription.interval_count, 1)
    return issue(
        db,
        business,
        customer,
        operation=operation,
        kind="new" if subscription else "one_time",
        lines=lines_of(payment.cart, at if subscription else None, ends),
        currency=payment.currency,
        subscription_id=payment.subscription_id,
        starts_at=at if subscription else None,
        ends_at=ends,
        billing=payment.billing,
        tax_id=buyer.get("tax_id"),
        business_name=buyer.get("business_name"),
        method_id=payment.payment_method_id,
        test_mode=settings.is_test,
    )


def _close(payment: Payment, outcome: ChargeOutcome) -> None:
    payment.is_open, payment.unknown, payment.check_at = False, False, None
    payment.gateway_reference = outcome.reference or payment.gateway_reference
    payment.challenged = payment.challenged or outcome.challenged
    payment.updated_at = clock.now()


def _business(db: ScopedSession) -> Business:
    business: Business | None = db.scalar(select(Business))
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
        payment.method = method_snapshot(method)
    return method


def _subscription(db: ScopedSession, payment: Payment) -> Subscription | None:
    if payment.subscription_id is None:
        return None
    return db.scalar(select(Subscription).where(Subscription.id == payment.subscription_id).with_for_update())


def _invoice(db: ScopedSession, payment: Payment) -> Invoice | None:
    if payment.invoice_id is None:
        return None
    return db.scalar(select(Invoice).where(Invoice.id == payment.invoice_id).with_for_update())


def _emit(db: ScopedSession, payment: Payment, type: str, **data: object) -> None:
    if payment.charge_type == "method":
        return  # saving a card emits `payment_method.added`
    emit(
        db,
        type,
        business_id=payment.business_id,
        customer_id=payment.customer_id,
        noun=payment.subscription_id or payment.id,
        actor=actor_of(payment),
        data={
            "payment_id": payment.id,
            "subscription_id": payment.subscription_id,
            "amount": payment.amount_minor,
            "currency": payment.currency,
            "charge_type": payment.charge_type,
            "method": method_label(payment.method),
            **data,
        },
    )
