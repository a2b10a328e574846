"""Search and read a business's customers for its staff, newest first and keyset-paged, in a fixed number of statements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, func, select

from billing.model.catalogue import Product
from billing.model.customer_search import matches
from billing.model.imported_records import SourceId
from billing.model.invoices import Invoice
from billing.model.licenses import LicenseKey, match_key
from billing.model.lifecycle import LIVE
from billing.model.parties import Business, Customer, CustomerTotal
from billing.model.payments import Payment
from billing.model.subscriptions import Subscription
from billing.pricing import prices
from core.db import ScopedSession
from core.errors import N_, NotFound

KEY_LENGTH, HOLDERS = 4, 20
"""Minimum length of a search for a license key, and the maximum of its holders: keys that differ only in case."""
Mark = tuple[datetime, str]
"""(created_at, customer_id) of the last row of a page."""


@dataclass(slots=True)
class CustomerLine:
    """A customer. `active`: the number of live subscriptions."""

    customer_id: str
    name: str
    email: str
    created_at: datetime
    phone: str | None = None
    locale: str | None = None
    business_name: str | None = None
    tax_id: str | None = None
    country: str | None = None
    active: int = 0


@dataclass(slots=True)
class CustomerSubscriptionRow:
    """A subscription. `price_minor`: of one period, tax included, as shown to the customer."""

    id: str
    name: str
    status: str
    quantity: int
    price_minor: int
    currency: str
    interval: str
    interval_count: int
    next_billing_at: datetime | None
    cancel_at_period_end: bool
    trial_ends_at: datetime | None
    period_n: int


@dataclass(slots=True)
class CustomerPaymentRow:
    id: str
    at: datetime
    what: str | None
    status: str
    unknown: bool
    minor: int
    refunded_minor: int
    disputed_minor: int
    currency: str
    number: str | None


@dataclass(slots=True)
class CustomerKeyRow:
    id: str
    key: str
    status: str
    limit: int | None
    used: int
    name: str
    created_at: datetime


def lines(
    db: ScopedSession, search: str = "", *, before: Mark | None = None, after: Mark | None = None, limit: int = 25
) -> list[CustomerLine]:
    """Customers older than `before` or newer than `after`, newest first. Two statements."""
    query = _filtered(db, select(Customer.customer_id, Customer.name, Customer.email, Customer.created_at), search)  # type: ignore[arg-type]
    at, item = Customer.created_at, Customer.customer_id
    if before:
        query = query.where(at <= before[0], (at < before[0]) | (item < before[1]))
    if after:
        query = query.where(at >= after[0], (at > after[0]) | (item > after[1]))
    query = query.order_by(at.asc(), item.asc()) if after else query.order_by(at.desc(), item.desc())
    found = [CustomerLine(*row) for row in db.execute(query.limit(limit))]
    _count_active(db, found)
    return found[::-1] if after else found


def batch(db: ScopedSession, search: str, *, after: str, limit: int) -> list[CustomerLine]:
    """Customers for the export file, ordered by id, because that order is stable during the export."""
    c = Customer
    query = _filtered(
        db, select(c.customer_id, c.name, c.email, c.created_at, c.phone, c.locale, c.business_name, c.tax_id, c.billing), search
    )
    query = query.where(c.customer_id > after).order_by(c.customer_id).limit(limit)
    found = [CustomerLine(*row[:8], country=(row[8] or {}).get("country")) for row in db.execute(query)]  # type: ignore[misc]
    _count_active(db, found)
    return found


def count(db: ScopedSession, search: str = "") -> int:
    return db.scalar(_filtered(db, select(func.count(Customer.customer_id)), search)) or 0


def get_customer(db: ScopedSession, customer_id: str) -> Customer:
    found = db.scalar(select(Customer).where(Customer.customer_id == customer_id))
    if found is None:
        raise NotFound("CUSTOMER_NOT_FOUND", N_("There is no such customer."))
    return found


def loaded_from(db: ScopedSession, customer_id: str) -> SourceId | None:
    """The import source of the customer and when it was last read; None if created here."""
    return db.scalar(select(SourceId).where(SourceId.kind == "customer", SourceId.row_id == customer_id))


def subscriptions(db: ScopedSession, customer_id: str, limit: int = 50) -> list[CustomerSubscriptionRow]:
    s = Subscription
    query = (
        select(s, Product, Business)
        .join(Product, and_(Product.business_id == s.business_id, Product.id == s.product_id))
        .join(Business, Business.business_id == s.business_id)
        .where(s.customer_id == customer_id)
        .order_by(s.created_at.desc(), s.id.desc())
        .limit(limit)
    )
    return [
        CustomerSubscriptionRow(
            subscription.id,
            product.name,
            subscription.status,
            subscription.quantity,
            prices.period_price(business, subscription, product),
            subscription.currency,
            subscription.interval,
            subscription.interval_count,
            subscription.next_billing_at,
            subscription.cancel_at_period_end,
            subscription.trial_ends_at,
            subscription.period_n,
        )
        for subscription, product, business in db.execute(query)
    ]


def payments(db: ScopedSession, customer_id: str, limit: int = 20) -> list[CustomerPaymentRow]:
    p = Payment
    query = (
        select(
            p.id,
            p.created_at,
            Invoice.description,
            p.status,
            p.unknown,
            p.amount_minor,
            p.refunded_minor,
            p.disputed_minor,
            p.currency,
            Invoice.number,
        )
        .outerjoin(Invoice, and_(Invoice.business_id == p.business_id, Invoice.id == p.invoice_id))
        .where(p.customer_id == customer_id, p.amount_minor > 0)
        .order_by(p.created_at.desc(), p.id.desc())
        .limit(limit)
    )
    return [CustomerPaymentRow(*tuple(row)) for row in db.execute(query)]


def keys(db: ScopedSession, customer_id: str, limit: int = 20) -> list[CustomerKeyRow]:
    k = LicenseKey
    query = (
        select(k.id, k.key, k.state, k.activations_limit, k.instances_count, Product.name, k.created_at)
        .join(Product, and_(Product.business_id == k.business_id, Product.id == k.product_id))
        .where(k.customer_id == customer_id)
        .order_by(k.created_at.desc(), k.id.desc())
        .limit(limit)
    )
    return [CustomerKeyRow(*row) for row in db.execute(query)]


def totals(db: ScopedSession, customer_id: str) -> Sequence[tuple[str, int, int]]:
    """(currency, paid, refunded) in minor units, from the running totals."""
    query = select(CustomerTotal.currency, CustomerTotal.paid_minor, CustomerTotal.refunded_minor)
    rows = db.execute(query.where(CustomerTotal.customer_id == customer_id).order_by(CustomerTotal.currency))
    return [(currency, paid, refunded) for currency, paid, refunded in rows]


def _filtered(db: ScopedSession, query: Select[Any], search: str) -> Select[Any]:
    """Filter by search words, or by holder where the words are a complete license key."""
    if len(search.strip()) >= KEY_LENGTH:
        holders = select(LicenseKey.customer_id).where(LicenseKey.match_key == match_key(search)).limit(HOLDERS)
        if found := list(db.scalars(holders)):
            return query.where(Customer.customer_id.in_(found))
    return query.where(*matches(str(db.scope.business), search))


def _count_active(db: ScopedSession, found: list[CustomerLine]) -> None:
    """Set `active` of all lines, in one statement."""
    by_id = {item.customer_id: item for item in found}
    query = (
        select(Subscription.customer_id, func.count(Subscription.id))
        .where(Subscription.customer_id.in_(list(by_id)), Subscription.status.in_(LIVE))
        .group_by(Subscription.customer_id)
    )
    for customer_id, number in db.execute(query):
        by_id[customer_id].active = number
