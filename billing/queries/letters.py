"""What a letter about a purchase tells: one business, one customer, and the thing that happened."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from billing.catalogue import Product
from billing.invoices import Invoice
from billing.method_use import wanted_by
from billing.parties import Business, Customer
from billing.payments import Payment, PaymentMethod, Refund
from billing.subscriptions import Subscription
from core.db import ScopedSession
from core.outbox import Event


@dataclass(frozen=True)
class Matter:
    business: Business
    customer: Customer
    subscription: Subscription | None = None
    product: Product | None = None
    payment: Payment | None = None
    invoice: Invoice | None = None
    refund: Refund | None = None
    times_active: int = 0
    last_payment: Payment | None = None
    was_refused: bool = False
    declined_code: str | None = None  # `with_dues`: why the last try to pay the open invoice failed (contract section 1.5)

    @property
    def wants_confirmation(self) -> bool:
        """The bank did not decline: it wants the customer to confirm (3-D Secure)."""
        code = self.declined_code or (self.payment.error_code if self.payment else None)
        return code in ("AUTHENTICATION_REQUIRED", "AUTHENTICATION_FAILURE")

    def chosen_by_payment(self, at: datetime) -> bool:
        """Whether the subscription's method, changed at that moment, came with a payment that was to change it."""
        paid = self.last_payment
        mine = paid is not None and self.subscription is not None and self.subscription.id in wanted_by(paid)
        return mine and abs(paid.updated_at - at) < timedelta(seconds=5)  # type: ignore[union-attr]

    @property
    def what(self) -> str:
        """What it is called: the product, or what stands on the invoice."""
        return self.product.name if self.product else self.invoice.description if self.invoice else ""


def matter(
    db: ScopedSession, customer_id: str, event_id: str, *, subscription_id: str | None = None, payment_id: str | None = None,
    refund_id: str | None = None, with_dues: bool = False,
) -> Matter | None:
    """None when the customer is gone. `with_dues`: the open invoice; `times_active`: how often it became active up to this event."""
    business = db.scalar(select(Business))
    customer = db.scalar(select(Customer).where(Customer.customer_id == customer_id))
    if business is None or customer is None:
        return None
    refund = _one(db, Refund, refund_id)
    payment = _one(db, Payment, refund.payment_id if refund else payment_id)
    subscription = _one(db, Subscription, payment.subscription_id if payment else subscription_id)
    invoice = _one(db, Invoice, payment.invoice_id if payment else None)
    product = _one(db, Product, subscription.product_id if subscription else None)
    if with_dues and subscription:
        invoice = db.scalar(select(Invoice).where(Invoice.subscription_id == subscription.id, Invoice.status == "open")
                            .order_by(Invoice.issued_at.desc()).limit(1))
    code = None
    if with_dues and invoice:
        tried = select(Payment.error_code).where(Payment.invoice_id == invoice.id, Payment.status.in_(("failed", "cancelled")))
        code = db.scalar(tried.order_by(Payment.attempt.desc()).limit(1))
    times = 0
    if subscription:
        times = db.scalar(select(func.count(Event.id)).where(
            Event.noun_id == subscription.id, Event.type == "subscription.active", Event.id <= event_id)) or 0
    last = None
    if subscription:
        last = db.scalar(select(Payment).where(Payment.subscription_id == subscription.id, Payment.status == "succeeded",
                                               Payment.amount_minor > 0).order_by(Payment.updated_at.desc()).limit(1))
    return Matter(business, customer, subscription, product, payment, invoice, refund, times, last, _refused(db, customer), code)


def _refused(db: ScopedSession, customer: Customer) -> bool:
    """Whether the holder of an unknown row's address said "not mine" to this business before, of this row or another."""
    said = select(Customer.customer_id).where(Customer.email_key == customer.email_key, Customer.is_declined).limit(1)
    return not customer.is_known and db.scalar(said) is not None


def method(db: ScopedSession, payment_method_id: str | None) -> PaymentMethod | None:
    return _one(db, PaymentMethod, payment_method_id)


def _one(db: ScopedSession, kind: Any, id: str | None) -> Any:
    return db.scalar(select(kind).where(kind.id == id)) if id else None
