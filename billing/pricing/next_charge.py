"""Calculates the next charge of a subscription with the function that makes its invoice."""

from __future__ import annotations

from sqlalchemy import select

from billing.model.catalogue import Product
from billing.model.parties import Business
from billing.model.subscriptions import Subscription
from billing.pricing import prices
from core.db import ScopedSession


def next_charge(db: ScopedSession, subscription: Subscription) -> int:
    """Return the next charge in minor units, tax included, minus the credit that will be used, at the current plan and price."""
    business = db.scalar(select(Business).where(Business.business_id == subscription.business_id))
    product = db.scalar(select(Product).where(Product.business_id == subscription.business_id, Product.id == subscription.product_id))
    assert business is not None and product is not None
    at = subscription.next_billing_at or subscription.created_at
    total = prices.total(prices.for_period(business, subscription, product, at, at))
    return total - min(subscription.credit_minor, total)
