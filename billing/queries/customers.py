"""A business's customers as its staff see them: found by words, newest first, keyset-paged, in a fixed number of statements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, func, select

from billing import pricing
from billing.catalogue import Product
from billing.finding import matches
from billing.invoices import Invoice
from billing.licences import LicenseKey, match_key
from billing.lifecycle import LIVE
from billing.loaded import SourceId
from billing.parties import Business, Customer, CustomerTotal
from billing.payments import Payment
from billing.subscriptions import Subscription
from core.db import ScopedSession
from core.errors import NotFound

KEY_LENGTH, HOLDERS = 4, 20
"""A search of at least so many characters may be a license key; keys that differ only in case may have several holders."""
Mark = tuple[datetime, str]
"""(created_at, customer_id) of a row: where a page ends."""


@dataclass(slots=True)
class CustomerLine:
    """`active`: subscriptions that are not over."""

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
class Held:
    """A subscription of the customer. `price_minor`: of one period, tax included, as the customer is shown it."""

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
class Paid:
    id: str
    at: datetime
    what: str | None
    status: str
    unknown: bool
    minor: int
    refunded_minor: int
    currency: str
    number: str | None


@dataclass(slots=True)
class Key:
    id: str
    key: str
    status: str
    limit: int | None
    used: int
    name: str
    created_at: datetime


def lines(
    db: ScopedSession, words: str = "", *, before: Mark | None = None, after: Mark | None = None, limit: int = 25
) -> list[CustomerLine]:
    """Newest first; `after` gives the ones before a page, still newest first. Two statements."""
    query = _found(db, select(Customer.customer_id, Customer.name, Customer.email, Customer.created_at), words)  # type: ignore[arg-type]
    at, one = Customer.created_at, Customer.customer_id
    if before:
        query = query.where(at <= before[0], (at < before[0]) | (one < before[1]))
    if after:
        query = query.where(at >= after[0], (at > after[0]) | (one > after[1]))
    query = query.order_by(at.asc(), one.asc()) if after else query.order_by(at.desc(), one.desc())
    found = [CustomerLine(*row) for row in db.execute(query.limit(limit))]
    _count_active(db, found)
    return found[::-1] if after else found


def batch(db: ScopedSession, words: str, *, after: str, limit: int) -> list[CustomerLine]:
    """For the file: in the order of ids, which nothing changes meanwhile."""
    c = Customer
    query = _found(db, select(c.customer_id, c.name, c.email, c.created_at, c.phone, c.locale, c.business_name, c.tax_id, c.billing), words)
    query = query.where(c.customer_id > after).order_by(c.customer_id).limit(limit)
    found = [CustomerLine(*row[:8], country=(row[8] or {}).get("country")) for row in db.execute(query)]  # type: ignore[misc]
    _count_active(db, found)
    return found


def count(db: ScopedSession, words: str = "") -> int:
    return db.scalar(_found(db, select(func.count(Customer.customer_id)), words)) or 0


def one(db: ScopedSession, customer_id: str) -> Customer:
    found = db.scalar(select(Customer).where(Customer.customer_id == customer_id))
    if found is None:
        raise NotFound("CUSTOMER_NOT_FOUND", "There is no such customer.")
    return found


def loaded_from(db: ScopedSession, customer_id: str) -> SourceId | None:
    """Which source told of the customer, and when it was read last; None for one who began here."""
    return db.scalar(select(SourceId).where(SourceId.kind == "customer", SourceId.row_id == customer_id))


def subscriptions(db: ScopedSession, customer_id: str, limit: int = 50) -> list[Held]:
    s = Subscription
    query = (
        select(s, Product, Business)
        .join(Product, and_(Product.business_id == s.business_id, Product.id == s.product_id))
        .join(Business, Business.business_id == s.business_id)
        .where(s.customer_id == customer_id).order_by(s.created_at.desc(), s.id.desc()).limit(limit)
    )
    return [
        Held(one.id, product.name, one.status, one.quantity, pricing.period_price(business, one, product), one.currency, one.interval,
             one.interval_count, one.next_billing_at, one.cancel_at_period_end, one.trial_ends_at, one.period_n)
        for one, product, business in db.execute(query)
    ]


def payments(db: ScopedSession, customer_id: str, limit: int = 20) -> list[Paid]:
    p = Payment
    query = (
        select(p.id, p.created_at, Invoice.description, p.status, p.unknown, p.amount_minor, p.refunded_minor, p.currency, Invoice.number)
        .outerjoin(Invoice, and_(Invoice.business_id == p.business_id, Invoice.id == p.invoice_id))
        .where(p.customer_id == customer_id, p.amount_minor > 0).order_by(p.created_at.desc(), p.id.desc()).limit(limit)
    )
    return [Paid(*row) for row in db.execute(query)]


def keys(db: ScopedSession, customer_id: str, limit: int = 20) -> list[Key]:
    k = LicenseKey
    query = (
        select(k.id, k.key, k.state, k.activations_limit, k.instances_count, Product.name, k.created_at)
        .join(Product, and_(Product.business_id == k.business_id, Product.id == k.product_id))
        .where(k.customer_id == customer_id).order_by(k.created_at.desc(), k.id.desc()).limit(limit)
    )
    return [Key(*row) for row in db.execute(query)]


def totals(db: ScopedSession, customer_id: str) -> Sequence[tuple[str, int, int]]:
    """(currency, paid, refunded) in minor units, kept as rows."""
    query = select(CustomerTotal.currency, CustomerTotal.paid_minor, CustomerTotal.refunded_minor)
    rows = db.execute(query.where(CustomerTotal.customer_id == customer_id).order_by(CustomerTotal.currency))
    return [(currency, paid, refunded) for currency, paid, refunded in rows]


def _found(db: ScopedSession, query: Select[Any], words: str) -> Select[Any]:
    """By words; or, where they are a license key as a whole, by who holds it."""
    if len(words.strip()) >= KEY_LENGTH:
        holders = select(LicenseKey.customer_id).where(LicenseKey.match_key == match_key(words)).limit(HOLDERS)
        if found := list(db.scalars(holders)):
            return query.where(Customer.customer_id.in_(found))
    return query.where(*matches(str(db.scope.business), words))


def _count_active(db: ScopedSession, found: list[CustomerLine]) -> None:
    """One statement for all of them."""
    mine = {one.customer_id: one for one in found}
    query = (
        select(Subscription.customer_id, func.count(Subscription.id))
        .where(Subscription.customer_id.in_(list(mine)), Subscription.status.in_(LIVE)).group_by(Subscription.customer_id)
    )
    for customer_id, number in db.execute(query):
        mine[customer_id].active = number
