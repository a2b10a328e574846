"""Load the rows that an email about a purchase needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from billing.charging.method_assignment import requested_subscriptions
from billing.external.port import UNDECIDED
from billing.model.catalogue import Product
from billing.model.invoices import Invoice
from billing.model.parties import Business, Customer
from billing.model.payment_accounts import takes_charges
from billing.model.payments import Payment, PaymentMethod, Refund
from billing.model.subscriptions import Subscription
from core.db import ScopedSession
from core.outbox import Event


@dataclass(frozen=True)
class RedactedInvoice:
    """An invoice with its amounts but without text of an unaccepted business. Its number starts with such text."""

    id: str
    number: str
    description: str
    currency: str
    subtotal_minor: int
    tax_minor: int
    total_minor: int
    due_minor: int
    amount_minor: int


@dataclass(frozen=True)
class EmailContext:
    business: Business
    customer: Customer
    subscription: Subscription | None = None
    product: Product | None = None
    payment: Payment | None = None
    invoice: Invoice | RedactedInvoice | None = None
    refund: Refund | None = None
    times_active: int = 0
    last_payment: Payment | None = None
    was_refused: bool = False
    next_renewal_at: datetime | None = None  # None where nobody charges the subscription
    declined_code: str | None = None  # with_dues: why the last payment of the open invoice failed (contract §1.5)

    @property
    def wants_confirmation(self) -> bool:
        """Whether the bank wants the customer to confirm the payment (3-D Secure) and did not decline it."""
        code = self.declined_code or (self.payment.error_code if self.payment else None)
        return code in ("AUTHENTICATION_REQUIRED", "AUTHENTICATION_FAILURE")

    def chosen_by_payment(self, at: datetime) -> bool:
        """Whether the payment method was changed at that moment by a payment that was meant to change it."""
        paid = self.last_payment
        is_for_this = paid is not None and self.subscription is not None and self.subscription.id in requested_subscriptions(paid)
        return is_for_this and abs(paid.updated_at - at) < timedelta(seconds=5)  # type: ignore[union-attr]

    @property
    def what(self) -> str:
        """The product name, or the description on the invoice."""
        return self.product.name if self.product else self.invoice.description if self.invoice else ""

    def redacted(self, name: str) -> EmailContext:
        """Return the context without its product, and with `name` and the invoice's id in place of the invoice's text."""
        invoice = self.invoice and RedactedInvoice(
            id=self.invoice.id,
            number=self.invoice.id,
            description=name,
            currency=self.invoice.currency,
            subtotal_minor=self.invoice.subtotal_minor,
            tax_minor=self.invoice.tax_minor,
            total_minor=self.invoice.total_minor,
            due_minor=self.invoice.due_minor,
            amount_minor=self.invoice.amount_minor,
        )
        return replace(self, product=None, invoice=invoice)


def email_context(
    db: ScopedSession,
    customer_id: str,
    event_id: str,
    *,
    subscription_id: str | None = None,
    payment_id: str | None = None,
    refund_id: str | None = None,
    with_dues: bool = False,
) -> EmailContext | None:
    """Load the rows, or None if the customer is gone. `with_dues`: load the open invoice and its last decline.

    `times_active` counts how often the subscription became active up to this event.
    """
    business = db.scalar(select(Business))
    customer = db.scalar(select(Customer).where(Customer.customer_id == customer_id))
    if business is None or customer is None:
        return None
    refund = _load(db, Refund, refund_id)
    payment = _load(db, Payment, refund.payment_id if refund else payment_id)
    subscription = _load(db, Subscription, payment.subscription_id if payment else subscription_id)
    invoice = _load(db, Invoice, payment.invoice_id if payment else None)
    product = _load(db, Product, subscription.product_id if subscription else None)
    if with_dues and subscription:
        invoice = db.scalar(
            select(Invoice)
            .where(Invoice.subscription_id == subscription.id, Invoice.status == "open")
            .order_by(Invoice.issued_at.desc())
            .limit(1)
        )
    code = None
    if with_dues and invoice:
        tried = select(Payment.error_code).where(Payment.invoice_id == invoice.id, Payment.status.in_(("failed", "cancelled")))
        code = db.scalar(tried.order_by(Payment.attempt.desc()).limit(1))
    times = 0
    if subscription:
        times = (
            db.scalar(
                select(func.count(Event.id)).where(
                    Event.noun_id == subscription.id, Event.type == "subscription.active", Event.id <= event_id
                )
            )
            or 0
        )
    last = None
    if subscription:
        last = db.scalar(
            select(Payment)
            .where(Payment.subscription_id == subscription.id, Payment.status == "succeeded", Payment.amount_minor > 0)
            .order_by(Payment.updated_at.desc())
            .limit(1)
        )
    renews_at = _next_renewal_at(db, subscription) if subscription else None
    was_refused = _has_declined(db, customer)
    return EmailContext(business, customer, subscription, product, payment, invoice, refund, times, last, was_refused, renews_at, code)


def _next_renewal_at(db: ScopedSession, subscription: Subscription) -> datetime | None:
    """Return the next billing date. None if nobody charges: no open payment account here, or who bills is undecided."""
    if subscription.collected_by == UNDECIDED:
        return None
    if subscription.collected_by == "us" and db.scalar(select(Business.business_id).where(takes_charges(db, Business))) is None:
        return None
    return subscription.next_billing_at


def _has_declined(db: ScopedSession, customer: Customer) -> bool:
    """Whether the holder of an unrecognized row's email address declined this or another row of the business before."""
    declined = select(Customer.customer_id).where(Customer.email_key == customer.email_key, Customer.is_declined).limit(1)
    return not customer.is_recognized and db.scalar(declined) is not None


def method(db: ScopedSession, payment_method_id: str | None) -> PaymentMethod | None:
    found: PaymentMethod | None = _load(db, PaymentMethod, payment_method_id)
    return found


def _load(db: ScopedSession, kind: Any, id: str | None) -> Any:
    return db.scalar(select(kind).where(kind.id == id)) if id else None
