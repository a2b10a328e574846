"""A business's subscriptions, payments and refunds as its staff find them: newest first, keyset-paged, by id, number or address."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, or_, select

from billing import pricing
from billing.addresses import fold_address
from billing.catalogue import Product
from billing.invoices import Invoice
from billing.parked import Parked
from billing.parties import Business, Customer
from billing.payments import Payment, Refund
from billing.subscriptions import Subscription
from core.db import ScopedSession
from core.errors import Invalid, NotFound

Mark = tuple[datetime, str]
"""(created_at, id) of a row: where a page ends."""

SUBSCRIPTION_STATES = ("active", "on_hold", "past_due", "paused", "pending", "cancelled", "expired", "failed")
PAYMENT_STATES = ("succeeded", "processing", "requires_customer_action", "requires_payment_method", "failed", "cancelled")
REFUND_STATES = ("pending", "succeeded", "failed")


@dataclass(frozen=True, slots=True)
class Sold:
    """`price_minor`: of one period, tax included, as its customer is shown it."""

    subscription: Subscription
    customer: Customer
    name: str
    product: Product
    business: Business

    @property
    def price_minor(self) -> int:
        return pricing.period_price(self.business, self.subscription, self.product)

    def addon_minor(self, addon: dict[str, Any]) -> int:
        sub = self.subscription
        tax = pricing.rate_of(self.business, sub.billing, sub.tax_id, self.product.tax_category)
        return pricing.line("", addon["quantity"], addon["unit_minor"], tax, sub.tax_inclusive).gross_minor


@dataclass(frozen=True, slots=True)
class Paid:
    payment: Payment
    customer: Customer
    number: str | None
    what: str | None


@dataclass(frozen=True, slots=True)
class Back:
    refund: Refund
    customer: Customer
    number: str | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Parked money with what it is about. `what` is the payment or the refund itself."""

    parked: Parked
    what: Any
    customer: Customer


def subscriptions(db: ScopedSession, words: str = "", status: str = "", before: Mark | None = None, limit: int = 26) -> list[Sold]:
    query = _narrowed(_sold(), Subscription, words, [Subscription.id == words])
    return [Sold(*row) for row in db.execute(_page(query, Subscription, status, before, limit))]


def payments(db: ScopedSession, words: str = "", status: str = "", before: Mark | None = None, limit: int = 26) -> list[Paid]:
    query = _narrowed(_paid().where(Payment.amount_minor > 0), Payment, words,
                      [Payment.id == words, Payment.subscription_id == words, Invoice.number == words.upper()])
    return [Paid(*row) for row in db.execute(_page(query, Payment, status, before, limit))]


def refunds(db: ScopedSession, words: str = "", status: str = "", before: Mark | None = None, limit: int = 26) -> list[Back]:
    query: Any = select(Refund, Customer, Refund.number).join(Customer, _buyer(Refund))
    query = _narrowed(query, Refund, words, [Refund.id == words, Refund.payment_id == words, Refund.number == words.upper()])
    return [Back(*row) for row in db.execute(_page(query, Refund, status, before, limit))]


def subscription(db: ScopedSession, subscription_id: str) -> Sold:
    row = db.execute(_sold().where(Subscription.id == subscription_id)).first()
    if row is None:
        raise NotFound(sentence="There is no such subscription.")
    return Sold(*row)


def payment(db: ScopedSession, payment_id: str) -> Paid:
    row = db.execute(_paid().where(Payment.id == payment_id)).first()
    if row is None:
        raise NotFound(sentence="There is no such payment.")
    return Paid(*row)


def payments_of(db: ScopedSession, subscription_id: str, limit: int = 12) -> list[Paid]:
    query = _paid().where(Payment.subscription_id == subscription_id, Payment.amount_minor > 0)
    return [Paid(*row) for row in db.execute(query.order_by(Payment.created_at.desc(), Payment.id.desc()).limit(limit))]


def refunds_of(db: ScopedSession, payment_id: str) -> list[Refund]:
    """Every refund of a payment that was asked for, the oldest first: `len` of it is what a refund's form was made on."""
    return list(db.scalars(select(Refund).where(Refund.payment_id == payment_id).order_by(Refund.created_at, Refund.id)))


def waiting(db: ScopedSession, limit: int = 100) -> list[Waiting]:
    """Parked money that nobody has closed, the oldest first."""
    out: list[Waiting] = []
    for model in (Payment, Refund):
        query: Any = (select(Parked, model, Customer)
                 .join(model, and_(model.business_id == Parked.business_id, model.id == Parked.id))
                 .join(Customer, _buyer(model)).where(Parked.closed_at.is_(None)).order_by(Parked.noted_at).limit(limit))
        out += [Waiting(*row) for row in db.execute(query)]
    return sorted(out, key=lambda one: one.parked.noted_at)


def is_waiting(db: ScopedSession) -> bool:
    return db.scalar(select(Parked.id).where(Parked.closed_at.is_(None)).limit(1)) is not None


def _sold() -> Any:
    same = and_(Product.business_id == Subscription.business_id, Product.id == Subscription.product_id)
    query = select(Subscription, Customer, Product.name, Product, Business).join(Customer, _buyer(Subscription)).join(Product, same)
    return query.join(Business, Business.business_id == Subscription.business_id)


def _paid() -> Any:
    bill = and_(Invoice.business_id == Payment.business_id, Invoice.id == Payment.invoice_id)
    return select(Payment, Customer, Invoice.number, Invoice.description).join(Customer, _buyer(Payment)).outerjoin(Invoice, bill)


def _buyer(model: Any) -> Any:
    return and_(Customer.business_id == model.business_id, Customer.customer_id == model.customer_id)


def _narrowed(query: Any, model: Any, words: str, exact: list[Any]) -> Any:
    """By what was typed: an address, an id, a number. All of them are compared whole, so that an index serves them."""
    if not words:
        return query
    try:
        return query.where(Customer.email_key == fold_address(words))
    except Invalid:
        return query.where(or_(model.customer_id == words, *exact))


def _page(query: Any, model: Any, status: str, before: Mark | None, limit: int) -> Any:
    if status:
        query = query.where(model.status == status)
    if before:
        at, one = before
        query = query.where(model.created_at <= at, (model.created_at < at) | (model.id < one))
    return query.order_by(model.created_at.desc(), model.id.desc()).limit(limit)
