"""Step 3 of a charge: what an outcome does to the payment, its invoice, its subscription and the totals. One transaction.

Called by `till.py` with the payment's row locked, under the scope of its business. Recording twice changes nothing.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from billing import lifecycle, totals
from billing.activation import paid_for, unpaid_for
from billing.cart import lines_of
from billing.invoices import Invoice, InvoiceLine
from billing.invoicing import issue, seller_of, take_number
from billing.parties import Business, Customer
from billing.payments import Payment, PaymentMethod, Refund
from billing.ports import MethodDetails, Outcome
from billing.subscriptions import Subscription
from core import clock
from core.db import ScopedSession
from core.ids import new_id
from core.outbox import emit
from core.scope import Actor
from core.settings import Settings


def succeeded(db: ScopedSession, payment: Payment, outcome: Outcome, settings: Settings) -> None:
    if payment.status == "succeeded":
        return
    payment.status = lifecycle.move(lifecycle.PAYMENT, payment.status, "succeed")
    _close(payment, outcome)
    payment.error_code = payment.error_message = None
    business, customer = _business(db), _customer(db, payment)
    method = keep_method(db, payment, outcome.method) if outcome.method else _method(db, payment)
    subscription = _subscription(db, payment)
    invoice = _invoice(db, payment)
    wanted = invoice is None or invoice.status == "open"
    if subscription is not None and subscription.status in ("failed", "cancelled", "expired") and payment.charge_type == "new":
        wanted = False  # what it was to start is over
    if payment.amount_minor and invoice is None and wanted:
        invoice = _issue_for(db, business, customer, payment, subscription, settings)
    if invoice is not None and wanted:
        invoice.status = lifecycle.move(lifecycle.INVOICE, invoice.status, "pay")
        invoice.paid_minor, invoice.paid_at = payment.amount_minor, clock.now()
        invoice.receipt = {"state": "paid", "at": clock.now().isoformat(), "method": method_words(payment.method)}
        payment.invoice_id = invoice.id
        emit(db, "invoice.paid", business_id=payment.business_id, customer_id=payment.customer_id, noun=invoice.id)
    if payment.amount_minor:
        totals.paid(db, business, payment.customer_id, payment.amount_minor, payment.currency)
        if customer.first_paid_at is None:
            customer.first_paid_at = clock.now()
    _note(db, payment, "payment.succeeded", invoice_id=payment.invoice_id)
    if wanted:
        paid_for(db, business, customer, payment, subscription, invoice, method)
    elif payment.amount_minor:
        # money that arrived for what is void, paid or over is booked, and goes back once
        from billing.refunds import request_refund

        request_refund(db, payment, payment.amount_minor, "No longer owed when it was paid", settings, actor=Actor("system"))


def declined(db: ScopedSession, payment: Payment, outcome: Outcome) -> None:
    """A definite decline: the next attempt gets the next key."""
    payment.status = lifecycle.move(lifecycle.PAYMENT, payment.status, "decline")
    _close(payment, outcome)
    payment.error_code, payment.error_message = outcome.error_code or "GENERIC_DECLINE", outcome.error_message
    _note(db, payment, "payment.failed", error_code=payment.error_code)
    unpaid_for(db, payment, _subscription(db, payment))


def cancelled(db: ScopedSession, payment: Payment, code: str | None, words: str | None) -> None:
    """Nothing was taken, and nothing will be under this key."""
    payment.status = lifecycle.move(lifecycle.PAYMENT, payment.status, "cancel")
    payment.is_open, payment.unknown, payment.check_at = False, False, None
    payment.error_code, payment.error_message, payment.updated_at = code, words, clock.now()
    _note(db, payment, "payment.cancelled")
    unpaid_for(db, payment, _subscription(db, payment))


def waiting(db: ScopedSession, payment: Payment, outcome: Outcome, check_at: datetime) -> None:
    """Not settled. `unknown` is shown as "we are checking with the bank"; a challenge waits for the customer."""
    payment.check_at, payment.updated_at = check_at, clock.now()
    payment.gateway_reference = outcome.reference or payment.gateway_reference
    if outcome.state == "requires_action":
        if payment.status == "processing":
            payment.status = lifecycle.move(lifecycle.PAYMENT, payment.status, "challenge")
        payment.hosted_url = outcome.redirect_url or payment.hosted_url
    elif payment.status == "processing" and outcome.state in ("unknown", "processing", "not_found"):
        if not payment.unknown:
            _note(db, payment, "payment.processing")
        payment.unknown = True


def refunded(db: ScopedSession, refund: Refund, settings: Settings) -> None:
    refund.status = lifecycle.move(lifecycle.REFUND, refund.status, "succeed")
    refund.settled_at, refund.check_at = clock.now(), None
    business = _business(db)
    payment = db.scalar(select(Payment).where(Payment.id == refund.payment_id).with_for_update())
    assert payment is not None
    payment.refunded_minor += refund.amount_minor
    invoice = db.scalar(select(Invoice).where(Invoice.id == refund.invoice_id).with_for_update()) if refund.invoice_id else None
    if invoice is not None:
        invoice.refunded_minor += refund.amount_minor
        spread(db, invoice, refund)
        refund.number = take_number(db, business, "refund", f"{business.invoice_prefix}-R")
        refund.snapshot = {
            **invoice.snapshot, "kind": "refund", "number": refund.number, "credits": invoice.number, "seller": seller_of(business),
            "issued_at": clock.now().isoformat(), "reason": refund.reason, "total_minor": refund.amount_minor,
            "due_minor": refund.amount_minor, "credit_applied_minor": 0,
            "paid": {"state": "paid", "at": clock.now().isoformat(), "method": method_words(payment.method)},
            **refund_sums(invoice, refund),
        }
    totals.refunded(db, business, refund.customer_id, refund.amount_minor, refund.currency)
    emit(db, "refund.succeeded", business_id=refund.business_id, customer_id=refund.customer_id, noun=refund.id,
         data={"payment_id": payment.id, "amount": refund.amount_minor, "currency": refund.currency,
               "subscription_id": refund.subscription_id})


def refund_failed(db: ScopedSession, refund: Refund, outcome: Outcome) -> None:
    refund.status = lifecycle.move(lifecycle.REFUND, refund.status, "fail")
    refund.settled_at, refund.check_at = clock.now(), None
    emit(db, "refund.failed", business_id=refund.business_id, customer_id=refund.customer_id, noun=refund.id,
         data={"payment_id": refund.payment_id, "error_code": outcome.error_code})


def spread(db: ScopedSession, invoice: Invoice, refund: Refund) -> None:
    """Book a refund on the invoice's lines: the named ones, or from the first on, never more than a line was."""
    lines = list(db.scalars(select(InvoiceLine).where(InvoiceLine.invoice_id == invoice.id).order_by(InvoiceLine.position)))
    named = {one["line_id"]: one["amount_minor"] for one in refund.lines}
    left = refund.amount_minor
    for line in lines:
        room = line.net_minor + line.tax_minor - line.refunded_minor
        part = min(room, named.get(line.id, 0) if named else left)
        line.refunded_minor += part
        left -= part


def refund_sums(invoice: Invoice, refund: Refund) -> dict[str, object]:
    """One line, with the tax that the refunded amount contains in the invoice's own proportion."""
    total = invoice.total_minor or 1
    tax = refund.amount_minor * invoice.tax_minor // total
    net = refund.amount_minor - tax
    rates = sorted({line["tax_bps"] for line in invoice.snapshot["lines"]})
    bps = rates[0] if len(rates) == 1 else 0
    words = invoice.description
    return {"lines": [{"description": words, "quantity": 1, "unit_minor": net, "net_minor": net, "tax_minor": tax, "tax_bps": bps,
                       "starts_at": None, "ends_at": None}],
            "subtotal_minor": net, "tax": [{"bps": bps, "net_minor": net, "tax_minor": tax}]}


def keep_method(db: ScopedSession, payment: Payment, details: MethodDetails) -> PaymentMethod:
    """Save a method under the gateway's reference; the same reference is the same row."""
    found = db.scalar(select(PaymentMethod).where(PaymentMethod.reference == details.reference))
    if found is None:
        first = db.scalar(select(PaymentMethod.id).where(PaymentMethod.customer_id == payment.customer_id,
                                                         PaymentMethod.removed_at.is_(None)).limit(1)) is None
        found = PaymentMethod(
            business_id=payment.business_id, customer_id=payment.customer_id, id=new_id("pm"), reference=details.reference,
            kind=details.kind, brand=details.brand, last4=details.last4, expiry_month=details.expiry_month,
            expiry_year=details.expiry_year, holder=details.holder, country=details.country, recurring=details.recurring,
            is_default=first, created_at=clock.now(),
        )
        db.add(found)
        emit(db, "payment_method.added", business_id=payment.business_id, customer_id=payment.customer_id, noun=found.id)
    payment.payment_method_id = found.id
    payment.method = method_of(found)
    found.last_used_at = clock.now()
    return found


def method_of(method: PaymentMethod) -> dict[str, object]:
    """What a payment remembers of its method."""
    return {"kind": method.kind, "brand": method.brand, "last4": method.last4, "expiry_month": method.expiry_month,
            "expiry_year": method.expiry_year, "holder": method.holder, "country": method.country}


def method_words(method: dict[str, object]) -> str | None:
    parts = [str(method[name]) for name in ("brand", "last4") if method.get(name)]
    return " ".join(parts) or None


def _issue_for(db: ScopedSession, business: Business, customer: Customer, payment: Payment, subscription: Subscription | None,
               settings: Settings) -> Invoice:
    operation = payment.key.split("/")[2]
    at = clock.now()
    ends = None
    if subscription is not None:
        from billing.calendar import nth

        ends = nth(at, subscription.zone, subscription.interval, subscription.interval_count, 1)
    return issue(
        db, business, customer, operation=operation, kind="new" if subscription else "one_time",
        lines=lines_of(payment.cart, at if subscription else None, ends), currency=payment.currency,
        subscription_id=payment.subscription_id, starts_at=at if subscription else None, ends_at=ends, billing=payment.billing,
        tax_id=subscription.tax_id if subscription else None, business_name=subscription.business_name if subscription else None,
        test_mode=settings.is_test,
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
    emit(db, type, business_id=payment.business_id, customer_id=payment.customer_id, noun=payment.subscription_id or payment.id,
         data={"payment_id": payment.id, "subscription_id": payment.subscription_id, "amount": payment.amount_minor,
               "currency": payment.currency, "charge_type": payment.charge_type, "method": method_words(payment.method), **data})
