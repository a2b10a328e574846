"""Read the rows of one business for the API, newest first and paged. Every function takes a session of that business."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Select, String, and_, cast, exists, func, or_, select

from billing.model.catalogue import CollectionItem, Product
from billing.model.email_address import fold_address
from billing.model.invoices import Invoice, InvoiceLine
from billing.model.licenses import LicenseInstance, LicenseKey
from billing.model.parties import Business, Customer
from billing.model.payment_accounts import is_chargeable
from billing.model.payments import Payment, PaymentMethod, Refund
from billing.model.subscriptions import Subscription
from core.db import ScopedSession
from core.errors import Invalid, NotFound

Row = TypeVar("Row")


@dataclass(frozen=True)
class ListPage:
    """A page of a list: `number` from 0, with `size` rows created within [since, until]."""

    number: int = 0
    size: int = 10
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class PaymentWithContext:
    """A payment with its customer, its billing period, and whether it delivered a license key or download."""

    payment: Payment
    customer: Customer
    starts_at: datetime | None
    ends_at: datetime | None
    has_license_key: bool
    has_download: bool = False


def business(db: ScopedSession, business_id: str) -> Business:
    return require(db.scalar(select(Business).where(Business.business_id == business_id)), "business", business_id)


def customer(db: ScopedSession, customer_id: str) -> Customer:
    return require(db.scalar(select(Customer).where(Customer.customer_id == customer_id)), "customer", customer_id)


def customer_by_address(db: ScopedSession, email: str) -> Customer | None:
    """The oldest customer with this folded email address. Raises Invalid for an invalid address."""
    query = select(Customer).where(Customer.email_key == fold_address(email))
    return db.scalar(query.order_by(Customer.created_at, Customer.customer_id).limit(1))


def customers(db: ScopedSession, page: ListPage, *, email: str | None = None, name: str | None = None) -> list[Customer]:
    query = select(Customer)
    if email is not None:
        try:
            query = query.where(Customer.email_key == fold_address(email))
        except Invalid:
            return []
    if name is not None:
        query = query.where(Customer.name.icontains(name, autoescape=True))
    return list(db.scalars(paged(query, Customer.created_at, Customer.customer_id, page)))


def payment_methods(db: ScopedSession, customer_id: str) -> list[PaymentMethod]:
    usable = (PaymentMethod.held_by != "us") | is_chargeable()  # one whose account takes no new charges is left out
    query = select(PaymentMethod).where(PaymentMethod.customer_id == customer_id, PaymentMethod.removed_at.is_(None), usable)
    return list(db.scalars(query.order_by(PaymentMethod.created_at.desc(), PaymentMethod.id)))


def payment_method(db: ScopedSession, customer_id: str, method_id: str) -> PaymentMethod:
    query = select(PaymentMethod).where(
        PaymentMethod.id == method_id, PaymentMethod.customer_id == customer_id, PaymentMethod.removed_at.is_(None)
    )
    return require(db.scalar(query), "payment method", method_id)


def product(db: ScopedSession, product_id: str) -> Product:
    return require(db.scalar(select(Product).where(Product.id == product_id)), "product", product_id)


def collection_of(db: ScopedSession, product_id: str) -> str | None:
    return db.scalar(select(CollectionItem.collection_id).where(CollectionItem.product_id == product_id))


def products(db: ScopedSession, page: ListPage, *, archived: bool = False, recurring: bool | None = None) -> list[Product]:
    query = select(Product).where(Product.archived_at.is_not(None) if archived else Product.archived_at.is_(None))
    if recurring is not None:
        query = query.where((Product.price_type != "one_time_price") if recurring else (Product.price_type == "one_time_price"))
    return list(db.scalars(paged(query, Product.created_at, Product.id, page)))


def _subscriptions_query() -> Any:
    return (
        select(Subscription, Customer, Product.name)
        .join(Customer, _same_customer(Subscription))
        .join(Product, and_(Product.business_id == Subscription.business_id, Product.id == Subscription.product_id))
    )


def subscription(db: ScopedSession, subscription_id: str) -> tuple[Subscription, Customer, str]:
    """(subscription, customer, product name). Raises NotFound."""
    item = require(db.execute(_subscriptions_query().where(Subscription.id == subscription_id)).first(), "subscription", subscription_id)
    return item[0], item[1], item[2]


def subscriptions(
    db: ScopedSession, page: ListPage, *, customer_id: str | None = None, product_id: str | None = None,
    status: Sequence[str] | None = None, cancelling: bool | None = None, brand_id: str | None = None,
) -> list[tuple[Subscription, Customer, str]]:  # fmt: skip
    query = _filtered(_subscriptions_query(), {
        Subscription.customer_id: customer_id, Subscription.product_id: product_id, Subscription.status: status,
        Subscription.cancel_at_period_end: cancelling, Subscription.brand_id: brand_id,
    })  # fmt: skip
    return [(row[0], row[1], row[2]) for row in db.execute(paged(query, Subscription.created_at, Subscription.id, page))]


def _payments_query() -> Any:
    first = and_(Payment.charge_type == "new", LicenseKey.subscription_id == Payment.subscription_id)
    key = exists().where(LicenseKey.business_id == Payment.business_id, or_(LicenseKey.payment_id == Payment.id, first))
    bill = and_(Invoice.business_id == Payment.business_id, Invoice.id == Payment.invoice_id)
    stored = func.coalesce(cast(Product.download, String), "null") != "null"  # a JSON null is not an SQL NULL
    by_line = exists().where(
        InvoiceLine.business_id == Payment.business_id,
        InvoiceLine.invoice_id == Payment.invoice_id,
        Product.business_id == InvoiceLine.business_id,
        Product.id == InvoiceLine.product_id,
        stored,
    )
    by_plan = exists().where(
        Subscription.business_id == Payment.business_id,
        Subscription.id == Payment.subscription_id,
        Product.business_id == Subscription.business_id,
        Product.id == Subscription.product_id,
        stored,
    )
    download = or_(by_line, by_plan)
    return (
        select(Payment, Customer, Invoice.starts_at, Invoice.ends_at, key.label("has_license_key"), download.label("has_download"))
        .join(Customer, _same_customer(Payment))
        .outerjoin(Invoice, bill)
    )


def payment(db: ScopedSession, payment_id: str) -> PaymentWithContext:
    return PaymentWithContext(*require(db.execute(_payments_query().where(Payment.id == payment_id)).first(), "payment", payment_id))


def payments(
    db: ScopedSession, page: ListPage, *, customer_id: str | None = None, subscription_id: str | None = None,
    status: Sequence[str] | None = None,
    currency: str | None = None, brand_id: str | None = None, product_id: str | None = None,
) -> list[PaymentWithContext]:  # fmt: skip
    query = _filtered(_payments_query(), {
        Payment.customer_id: customer_id, Payment.subscription_id: subscription_id, Payment.status: status,
        Payment.currency: currency, Payment.brand_id: brand_id,
    })  # fmt: skip
    if product_id is not None:
        bill = and_(InvoiceLine.business_id == Payment.business_id, InvoiceLine.invoice_id == Payment.invoice_id)
        query = query.where(exists().where(bill, InvoiceLine.product_id == product_id))
    return [PaymentWithContext(*row) for row in db.execute(paged(query, Payment.created_at, Payment.id, page))]


def refund(db: ScopedSession, refund_id: str) -> tuple[Refund, Customer]:
    query = select(Refund, Customer).join(Customer, _same_customer(Refund)).where(Refund.id == refund_id)
    item = require(db.execute(query).first(), "refund", refund_id)
    return item[0], item[1]


def refunds(
    db: ScopedSession, page: ListPage, *, customer_id: str | None = None, subscription_id: str | None = None,
    status: Sequence[str] | None = None,
    payment_id: str | None = None,
) -> list[Refund]:  # fmt: skip
    query = _filtered(select(Refund), {
        Refund.customer_id: customer_id, Refund.subscription_id: subscription_id, Refund.status: status, Refund.payment_id: payment_id,
    })  # fmt: skip
    return list(db.scalars(paged(query, Refund.created_at, Refund.id, page)))


def license_key(db: ScopedSession, key_id: str) -> LicenseKey:
    return require(db.scalar(select(LicenseKey).where(LicenseKey.id == key_id)), "license key", key_id)


def license_keys(
    db: ScopedSession, page: ListPage, *, customer_id: str | None = None, product_id: str | None = None, source: str | None = None,
    status: Sequence[str] | None = None,
) -> list[LicenseKey]:  # fmt: skip
    query = _filtered(select(LicenseKey), {
        LicenseKey.customer_id: customer_id, LicenseKey.product_id: product_id, LicenseKey.source: source, LicenseKey.state: status,
    })  # fmt: skip
    return list(db.scalars(paged(query, LicenseKey.created_at, LicenseKey.id, page)))


def license_instance(db: ScopedSession, instance_id: str) -> LicenseInstance:
    return require(db.scalar(select(LicenseInstance).where(LicenseInstance.id == instance_id)), "license key instance", instance_id)


def license_instances(db: ScopedSession, page: ListPage, *, license_key_id: str | None = None) -> list[LicenseInstance]:
    query = _filtered(select(LicenseInstance), {LicenseInstance.license_key_id: license_key_id})
    return list(db.scalars(paged(query, LicenseInstance.created_at, LicenseInstance.id, page)))


def invoice_of(db: ScopedSession, payment_id: str) -> str:
    """The id of a payment's invoice. Raises NotFound, also while there is no invoice yet."""
    return require(db.scalar(select(Payment.invoice_id).where(Payment.id == payment_id)), "invoice of payment", payment_id)


def lines_of(db: ScopedSession, payment_id: str) -> list[InvoiceLine]:
    """The invoice lines of a payment; empty while it has no invoice."""
    bill = and_(Payment.business_id == InvoiceLine.business_id, Payment.invoice_id == InvoiceLine.invoice_id)
    query = select(InvoiceLine).join(Payment, bill).where(Payment.id == payment_id)
    return list(db.scalars(query.order_by(InvoiceLine.position)))


def _same_customer(model: Any) -> Any:
    return and_(Customer.business_id == model.business_id, Customer.customer_id == model.customer_id)


def _filtered(query: Select[Any], wanted: dict[Any, Any]) -> Select[Any]:
    """Filter by equality, ignoring values that are None. A list matches any of its values."""
    for column, value in wanted.items():
        if value is not None:
            query = query.where(column.in_(value) if isinstance(value, list) else column == value)
    return query


def paged(query: Select[Any], created: Any, id: Any, page: ListPage) -> Select[Any]:
    """Newest first. With a fixed `until`, new rows do not shift the pages, so no row is shown twice."""
    return within(query, created, page).order_by(created.desc(), id.desc()).limit(page.size).offset(page.number * page.size)


def within(query: Select[Any], created: Any, page: ListPage) -> Select[Any]:
    query = query if page.since is None else query.where(created >= page.since)
    return query if page.until is None else query.where(created <= page.until)


def require(row: Row | None, noun: str, id: str) -> Row:
    if row is None:
        raise NotFound(sentence=f"There is no {noun} {id[:80]}.")
    return row
