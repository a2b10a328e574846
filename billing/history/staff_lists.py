"""Search a business's subscriptions, payments and refunds for its staff: by id, number or email, newest first, keyset-paged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, or_, select

from billing.charging.reconciliation_exceptions import ReconciliationException
from billing.model.catalogue import Product
from billing.model.customer_types import CustomerType, concluded_type
from billing.model.email_address import fold_address
from billing.model.invoices import Invoice
from billing.model.parties import Business, Customer
from billing.model.payments import Payment, Refund
from billing.model.subscriptions import Subscription
from billing.pricing import prices
from core.db import ScopedSession
from core.errors import N_, Invalid, NotFound

Mark = tuple[datetime, str]
"""(created_at, id) of the last row of a page."""

SUBSCRIPTION_STATES = ("active", "on_hold", "past_due", "paused", "pending", "cancelled", "expired", "failed")
PAYMENT_STATES = ("succeeded", "processing", "requires_customer_action", "requires_payment_method", "failed", "cancelled")
REFUND_STATES = ("pending", "succeeded", "failed")


@dataclass(frozen=True, slots=True)
class StaffSubscriptionRow:
    """A subscription. `price_minor`: of one period, tax included, as shown to the customer."""

    subscription: Subscription
    customer: Customer
    name: str
    product: Product
    business: Business

    @property
    def customer_type(self) -> CustomerType:
        """Return whether a consumer or a business concluded the contract."""
        return concluded_type(self.subscription, self.customer)

    @property
    def price_minor(self) -> int:
        return prices.period_price(self.business, self.subscription, self.product)

    def addon_minor(self, addon: dict[str, Any]) -> int:
        sub = self.subscription
        tax = prices.rate_of(self.business, sub.billing, sub.tax_id, self.product.tax_category, sub.next_billing_at)
        return prices.line("", addon["quantity"], addon["unit_minor"], tax, sub.tax_inclusive).gross_minor


@dataclass(frozen=True, slots=True)
class PaymentRow:
    payment: Payment
    customer: Customer
    number: str | None
    what: str | None

    @property
    def customer_type(self) -> CustomerType:
        """Return whether a consumer or a business bought, for one-time purchases."""
        return concluded_type(self.payment, self.customer)


@dataclass(frozen=True, slots=True)
class RefundRow:
    refund: Refund
    customer: Customer
    number: str | None


@dataclass(frozen=True, slots=True)
class OpenException:
    """A reconciliation exception with its payment or refund (`what`) and customer. Both are None if the payment is not known here."""

    exception: ReconciliationException
    what: Any
    customer: Customer | None


def subscriptions(
    db: ScopedSession, search: str = "", status: str = "", before: Mark | None = None, limit: int = 26
) -> list[StaffSubscriptionRow]:
    query = narrowed(subscriptions_with_names(), Subscription, search, [Subscription.id == search])
    return [StaffSubscriptionRow(*row) for row in db.execute(page_of(query, Subscription, status, before, limit))]


def payments(db: ScopedSession, search: str = "", status: str = "", before: Mark | None = None, limit: int = 26) -> list[PaymentRow]:
    query = narrowed(
        _payments_query().where(Payment.amount_minor > 0),
        Payment,
        search,
        [Payment.id == search, Payment.subscription_id == search, Invoice.number == search.upper()],
    )
    return [PaymentRow(*row) for row in db.execute(page_of(query, Payment, status, before, limit))]


def refunds(db: ScopedSession, search: str = "", status: str = "", before: Mark | None = None, limit: int = 26) -> list[RefundRow]:
    query: Any = select(Refund, Customer, Refund.number).join(Customer, _buyer(Refund))
    query = narrowed(query, Refund, search, [Refund.id == search, Refund.payment_id == search, Refund.number == search.upper()])
    return [RefundRow(*row) for row in db.execute(page_of(query, Refund, status, before, limit))]


def subscription(db: ScopedSession, subscription_id: str) -> StaffSubscriptionRow:
    row = db.execute(subscriptions_with_names().where(Subscription.id == subscription_id)).first()
    if row is None:
        raise NotFound(sentence=N_("There is no such subscription."))
    return StaffSubscriptionRow(*row)


def payment(db: ScopedSession, payment_id: str) -> PaymentRow:
    row = db.execute(_payments_query().where(Payment.id == payment_id)).first()
    if row is None:
        raise NotFound(sentence=N_("There is no such payment."))
    return PaymentRow(*row)


def payments_of(db: ScopedSession, subscription_id: str, limit: int = 12) -> list[PaymentRow]:
    query = _payments_query().where(Payment.subscription_id == subscription_id, Payment.amount_minor > 0)
    return [PaymentRow(*row) for row in db.execute(query.order_by(Payment.created_at.desc(), Payment.id.desc()).limit(limit))]


def refunds_of(db: ScopedSession, payment_id: str) -> list[Refund]:
    """All refunds of a payment, oldest first. Refund forms use their number to detect changes."""
    return list(db.scalars(select(Refund).where(Refund.payment_id == payment_id).order_by(Refund.created_at, Refund.id)))


def waiting(db: ScopedSession, limit: int = 100) -> list[OpenException]:
    """Open reconciliation exceptions, oldest first."""
    out: list[OpenException] = []
    for model in (Payment, Refund):
        query: Any = (
            select(ReconciliationException, model, Customer)
            .join(model, and_(model.business_id == ReconciliationException.business_id, model.id == ReconciliationException.id))
            .join(Customer, _buyer(model))
            .where(ReconciliationException.closed_at.is_(None))
            .order_by(ReconciliationException.noted_at)
            .limit(limit)
        )
        out += [OpenException(*row) for row in db.execute(query)]
    unknown = select(ReconciliationException).where(
        ReconciliationException.closed_at.is_(None),
        ReconciliationException.id.contains(":"),  # see `record_unknown`
    )
    out += [OpenException(row, None, None) for row in db.scalars(unknown.order_by(ReconciliationException.noted_at).limit(limit))]
    return sorted(out, key=lambda item: item.exception.noted_at)


def is_waiting(db: ScopedSession) -> bool:
    return db.scalar(select(ReconciliationException.id).where(ReconciliationException.closed_at.is_(None)).limit(1)) is not None


def subscriptions_with_names() -> Any:
    same = and_(Product.business_id == Subscription.business_id, Product.id == Subscription.product_id)
    query = select(Subscription, Customer, Product.name, Product, Business).join(Customer, _buyer(Subscription)).join(Product, same)
    return query.join(Business, Business.business_id == Subscription.business_id)


def _payments_query() -> Any:
    bill = and_(Invoice.business_id == Payment.business_id, Invoice.id == Payment.invoice_id)
    return select(Payment, Customer, Invoice.number, Invoice.description).join(Customer, _buyer(Payment)).outerjoin(Invoice, bill)


def _buyer(model: Any) -> Any:
    return and_(Customer.business_id == model.business_id, Customer.customer_id == model.customer_id)


def narrowed(query: Any, model: Any, search: str, exact: list[Any]) -> Any:
    """Filter by email address, id or number. Each is compared as a whole, so that an index is used."""
    if not search:
        return query
    try:
        return query.where(Customer.email_key == fold_address(search))
    except Invalid:
        return query.where(or_(model.customer_id == search, *exact))


def page_of(query: Any, model: Any, status: str, before: Mark | None, limit: int) -> Any:
    if status:
        query = query.where(model.status == status)
    if before:
        at, item = before
        query = query.where(model.created_at <= at, (model.created_at < at) | (model.id < item))
    return query.order_by(model.created_at.desc(), model.id.desc()).limit(limit)
