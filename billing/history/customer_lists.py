"""Read a customer's rows with what their own programs show of them, newest first. The scope of the session limits the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, or_, select

from billing.history.api_lists import ListPage, paged, require
from billing.model.catalogue import Addon, Product
from billing.model.licenses import LicenseKey
from billing.model.parties import Customer
from billing.model.payments import Payment, PaymentMethod
from billing.model.provenance import made_here_first
from billing.model.subscriptions import Subscription
from core.db import ScopedSession

SubscriptionOfCustomer = tuple[Subscription, Customer, Product]
_SUBSCRIPTIONS: Any = (
    select(Subscription, Customer, Product)
    .join(Customer, and_(Customer.business_id == Subscription.business_id, Customer.customer_id == Subscription.customer_id))
    .join(Product, and_(Product.business_id == Subscription.business_id, Product.id == Subscription.product_id))
)


def subscriptions(db: ScopedSession, page: ListPage) -> list[SubscriptionOfCustomer]:
    rows = db.execute(paged(_SUBSCRIPTIONS, Subscription.created_at, Subscription.id, page))
    return [(row[0], row[1], row[2]) for row in rows]


def subscription(db: ScopedSession, subscription_id: str) -> SubscriptionOfCustomer:
    """Return (subscription, customer, product). Raises NotFound. If an imported row shares the id, returns the one made here."""
    query = _SUBSCRIPTIONS.where(Subscription.id == subscription_id).order_by(made_here_first(Subscription), Subscription.business_id)
    row = require(db.execute(query.limit(1)).first(), "subscription", subscription_id)
    return row[0], row[1], row[2]


def addons_of(db: ScopedSession, business_id: str, addon_ids: Sequence[str]) -> dict[str, Addon]:
    if not addon_ids:
        return {}
    found = select(Addon).where(Addon.business_id == business_id, Addon.id.in_(list(addon_ids)))
    return {row.id: row for row in db.scalars(found)}


def products_of(db: ScopedSession, business_id: str, product_ids: Sequence[str]) -> dict[str, Product]:
    if not product_ids:
        return {}
    found = select(Product).where(Product.business_id == business_id, Product.id.in_(list(product_ids)))
    return {row.id: row for row in db.scalars(found)}


def keys_of_payment(db: ScopedSession, payment: Payment) -> list[LicenseKey]:
    """Return the license keys that a payment delivered: its own, and with a subscription's first payment those of the subscription."""
    own = LicenseKey.payment_id == payment.id
    if payment.charge_type == "new" and payment.subscription_id:
        own = or_(own, LicenseKey.subscription_id == payment.subscription_id)
    query = select(LicenseKey).where(LicenseKey.business_id == payment.business_id, own)
    return list(db.scalars(query.order_by(LicenseKey.created_at, LicenseKey.id).limit(100)))


def license_keys(db: ScopedSession) -> list[tuple[LicenseKey, Product]]:
    """Return the newest hundred license keys with their products."""
    same = and_(Product.business_id == LicenseKey.business_id, Product.id == LicenseKey.product_id)
    query = select(LicenseKey, Product).join(Product, same).order_by(LicenseKey.created_at.desc(), LicenseKey.id)
    return [(row[0], row[1]) for row in db.execute(query.limit(100))]


def payment_methods(db: ScopedSession, customer_id: str | None = None) -> list[PaymentMethod]:
    """Return the saved payment methods, the default first, then the newest."""
    query = select(PaymentMethod).where(PaymentMethod.removed_at.is_(None))
    if customer_id is not None:
        query = query.where(PaymentMethod.customer_id == customer_id)
    return list(db.scalars(query.order_by(PaymentMethod.is_default.desc(), PaymentMethod.created_at.desc(), PaymentMethod.id).limit(100)))
