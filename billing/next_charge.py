"""What the next period of a subscription will take, by the function that makes its invoice."""

from __future__ import annotations

from sqlalchemy import select

from billing import pricing
from billing.catalogue import Product
from billing.parties import Business
from billing.subscriptions import Subscription
from core.db import ScopedSession


def next_charge(db: ScopedSession, subscription: Subscription) -> int:
    """Minor units, tax included, less the credit that will be used; at the plan and price the subscription has now."""
    business = db.scalar(select(Business).where(Business.business_id == subscription.business_id))
    product = db.scalar(select(Product).where(Product.business_id == subscription.business_id, Product.id == subscription.product_id))
    assert business is not None and product is not None
    at = subscription.next_billing_at or subscription.created_at
    total = pricing.total(pricing.for_period(business, subscription, product, at, at))
    return total - min(subscription.credit_minor, total)
