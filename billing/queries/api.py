"""What programs read: one business's rows, newest first, a page at a time. Every function takes a session of that business."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Select, String, and_, cast, exists, func, or_, select

from billing.addresses import fold_address
from billing.catalogue import CollectionItem, Product
from billing.invoices import Invoice, InvoiceLine
from billing.licences import LicenseInstance, LicenseKey
from billing.parties import Business, Customer
from billing.payments import Payment, PaymentMethod, Refund
from billing.subscriptions import Subscription
from core.db import ScopedSession
from core.errors import Invalid, NotFound

Row = TypeVar("Row")


@dataclass(frozen=True)
class Page:
    """Which rows of a list: `number` from 0, `size` rows each; created within [since, until]."""

    number: int = 0
    size: int = 10
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Paid:
    """A payment with what its shape needs besides: who, which period, and whether something was delivered."""

    payment: Payment
    customer: Customer
    starts_at: datetime | None
    ends_at: datetime | None
    has_license_key: bool
    has_download: bool = False


def business(db: ScopedSession, business_id: str) -> Business:
    return found(db.scalar(select(Business).where(Business.business_id == business_id)), "business", business_id)


def customer(db: ScopedSession, customer_id: str) -> Customer:
    return found(db.scalar(select(Customer).where(Customer.customer_id == customer_id)), "customer", customer_id)


def customer_by_address(db: ScopedSession, email: str) -> Customer | None:
    """The oldest customer with this folded address. Raises Invalid for what is no address."""
    query = select(Customer).where(Customer.email_key == fold_address(email))
    return db.scalar(query.order_by(Customer.created_at, Customer.customer_id).limit(1))


def customers(db: ScopedSession, page: Page, *, email: str | None = None, name: str | None = None) -> list[Customer]:
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
    query = select(PaymentMethod).where(PaymentMethod.customer_id == customer_id, PaymentMethod.removed_at.is_(None))
    return list(db.scalars(query.order_by(PaymentMethod.created_at.desc(), PaymentMethod.id)))


def payment_method(db: ScopedSession, customer_id: str, method_id: str) -> PaymentMethod:
    query = select(PaymentMethod).where(
        PaymentMethod.id == method_id, PaymentMethod.customer_id == customer_id, PaymentMethod.removed_at.is_(None)
    )
    return found(db.scalar(query), "payment method", method_id)


def product(db: ScopedSession, product_id: str) -> Product:
    return found(db.scalar(select(Product).where(Product.id == product_id)), "product", product_id)


def collection_of(db: ScopedSession, product_id: str) -> str | None:
    return db.scalar(select(CollectionItem.collection_id).where(CollectionItem.product_id == product_id))


def products(db: ScopedSession, page: Page, *, archived: bool = False, recurring: bool | None = None) -> list[Product]:
    query = select(Product).where(Product.archived_at.is_not(None) if archived else Product.archived_at.is_(None))
    if recurring is not None:
        query = query.where((Product.price_type != "one_time_price") if recurring else (Product.price_type == "one_time_price"))
    return list(db.scalars(paged(query, Product.created_at, Product.id, page)))


def _sold() -> Any:
    return (
        select(Subscription, Customer, Product.name)
        .join(Customer, _same_customer(Subscription))
        .join(Product, and_(Product.business_id == Subscription.business_id, Product.id == Subscription.product_id))
    )


def subscription(db: ScopedSession, subscription_id: str) -> tuple[Subscription, Customer, str]:
    """(subscription, its customer, its product's name)"""
    one = found(db.execute(_sold().where(Subscription.id == subscription_id)).first(), "subscription", subscription_id)
    return one[0], one[1], one[2]


def subscriptions(
    db: ScopedSession, page: Page, *, customer_id: str | None = None, product_id: str | None = None, status: list[str] | None = None,
    cancelling: bool | None = None, brand_id: str | None = None,
) -> list[tuple[Subscription, Customer, str]]:  # fmt: skip
    query = _filtered(_sold(), {
        Subscription.customer_id: customer_id, Subscription.product_id: product_id, Subscription.status: status,
        Subscription.cancel_at_period_end: cancelling, Subscription.brand_id: brand_id,
    })  # fmt: skip
    return [(row[0], row[1], row[2]) for row in db.execute(paged(query, Subscription.created_at, Subscription.id, page))]


def _paid() -> Any:
    first = and_(Payment.charge_type == "new", LicenseKey.subscription_id == Payment.subscription_id)
    key = exists().where(LicenseKey.business_id == Payment.business_id, or_(LicenseKey.payment_id == Payment.id, first))
    bill = and_(Invoice.business_id == Payment.business_id, Invoice.id == Payment.invoice_id)
    stored = func.coalesce(cast(Product.download, String), "null") != "null"  # JSON null is a value
    by_line = exists().where(InvoiceLine.business_id == Payment.business_id, InvoiceLine.invoice_id == Payment.invoice_id,
                             Product.business_id == InvoiceLine.business_id, Product.id == InvoiceLine.product_id, stored)
    by_plan = exists().where(Subscription.business_id == Payment.business_id, Subscription.id == Payment.subscription_id,
                             Product.business_id == Subscription.business_id, Product.id == Subscription.product_id, stored)
    download = or_(by_line, by_plan)
    return (
        select(Payment, Customer, Invoice.starts_at, Invoice.ends_at, key.label("has_license_key"), download.label("has_download"))
        .join(Customer, _same_customer(Payment))
        .outerjoin(Invoice, bill)
    )


def payment(db: ScopedSession, payment_id: str) -> Paid:
    return Paid(*found(db.execute(_paid().where(Payment.id == payment_id)).first(), "payment", payment_id))


def payments(
    db: ScopedSession, page: Page, *, customer_id: str | None = None, subscription_id: str | None = None, status: list[str] | None = None,
    currency: str | None = None, brand_id: str | None = None, product_id: str | None = None,
) -> list[Paid]:  # fmt: skip
    query = _filtered(_paid(), {
        Payment.customer_id: customer_id, Payment.subscription_id: subscription_id, Payment.status: status,
        Payment.currency: currency, Payment.brand_id: brand_id,
    })  # fmt: skip
    if product_id is not None:
        bill = and_(InvoiceLine.business_id == Payment.business_id, InvoiceLine.invoice_id == Payment.invoice_id)
        query = query.where(exists().where(bill, InvoiceLine.product_id == product_id))
    return [Paid(*row) for row in db.execute(paged(query, Payment.created_at, Payment.id, page))]


def refund(db: ScopedSession, refund_id: str) -> tuple[Refund, Customer]:
    query = select(Refund, Customer).join(Customer, _same_customer(Refund)).where(Refund.id == refund_id)
    one = found(db.execute(query).first(), "refund", refund_id)
    return one[0], one[1]


def refunds(
    db: ScopedSession, page: Page, *, customer_id: str | None = None, subscription_id: str | None = None, status: list[str] | None = None,
    payment_id: str | None = None,
) -> list[Refund]:  # fmt: skip
    query = _filtered(select(Refund), {
        Refund.customer_id: customer_id, Refund.subscription_id: subscription_id, Refund.status: status, Refund.payment_id: payment_id,
    })  # fmt: skip
    return list(db.scalars(paged(query, Refund.created_at, Refund.id, page)))


def license_key(db: ScopedSession, key_id: str) -> LicenseKey:
    return found(db.scalar(select(LicenseKey).where(LicenseKey.id == key_id)), "license key", key_id)


def license_keys(
    db: ScopedSession, page: Page, *, customer_id: str | None = None, product_id: str | None = None, source: str | None = None,
    status: list[str] | None = None,
) -> list[LicenseKey]:  # fmt: skip
    query = _filtered(select(LicenseKey), {
        LicenseKey.customer_id: customer_id, LicenseKey.product_id: product_id, LicenseKey.source: source, LicenseKey.state: status,
    })  # fmt: skip
    return list(db.scalars(paged(query, LicenseKey.created_at, LicenseKey.id, page)))


def license_instance(db: ScopedSession, instance_id: str) -> LicenseInstance:
    return found(db.scalar(select(LicenseInstance).where(LicenseInstance.id == instance_id)), "license key instance", instance_id)


def license_instances(db: ScopedSession, page: Page, *, license_key_id: str | None = None) -> list[LicenseInstance]:
    query = _filtered(select(LicenseInstance), {LicenseInstance.license_key_id: license_key_id})
    return list(db.scalars(paged(query, LicenseInstance.created_at, LicenseInstance.id, page)))


def invoice_of(db: ScopedSession, payment_id: str) -> str:
    """The id of the invoice a payment pays. Raises NotFound, also while there is none yet."""
    return found(db.scalar(select(Payment.invoice_id).where(Payment.id == payment_id)), "invoice of payment", payment_id)


def lines_of(db: ScopedSession, payment_id: str) -> list[InvoiceLine]:
    """The lines a payment paid for; none while it has no invoice."""
    bill = and_(Payment.business_id == InvoiceLine.business_id, Payment.invoice_id == InvoiceLine.invoice_id)
    query = select(InvoiceLine).join(Payment, bill).where(Payment.id == payment_id)
    return list(db.scalars(query.order_by(InvoiceLine.position)))


def _same_customer(model: Any) -> Any:
    return and_(Customer.business_id == model.business_id, Customer.customer_id == model.customer_id)


def _filtered(query: Select[Any], wanted: dict[Any, Any]) -> Select[Any]:
    """Equality for every filter that was given; a list means any of it."""
    for column, value in wanted.items():
        if value is not None:
            query = query.where(column.in_(value) if isinstance(value, list) else column == value)
    return query


def paged(query: Select[Any], created: Any, id: Any, page: Page) -> Select[Any]:
    """Newest first. With `until` fixed, rows created meanwhile move nothing: no page shows a row of the one before."""
    return within(query, created, page).order_by(created.desc(), id.desc()).limit(page.size).offset(page.number * page.size)


def within(query: Select[Any], created: Any, page: Page) -> Select[Any]:
    if page.since is not None:
        query = query.where(created >= page.since)
    if page.until is not None:
        query = query.where(created <= page.until)
    return query


def found(row: Row | None, noun: str, id: str) -> Row:
    if row is None:
        raise NotFound(sentence=f"There is no {noun} {id[:80]}.")
    return row
