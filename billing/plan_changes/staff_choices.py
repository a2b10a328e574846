"""Plans that staff may change a subscription to: its collection's first, then all recurring products in its currency."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from billing.model.catalogue import Product
from billing.model.subscriptions import load_subscription
from billing.plan_changes.eligibility import options_for
from core.db import ScopedSession

LIMIT = 200


@dataclass(frozen=True)
class StaffPlan:
    """A plan. `unit_minor`: the price of one, before tax unless `tax_inclusive`."""

    product_id: str
    name: str
    unit_minor: int
    tax_inclusive: bool
    currency: str
    interval: str
    interval_count: int
    is_current: bool


def plans_for(db: ScopedSession, subscription_id: str) -> list[StaffPlan]:
    """List the plans, at most 200 outside the collection. Raises NotFound."""
    subscription = load_subscription(db, subscription_id, lock=False)
    found = {
        option.product_id: StaffPlan(
            option.product_id,
            option.name,
            option.unit_minor,
            option.tax_inclusive,
            option.currency,
            option.interval,
            option.interval_count,
            option.is_current,
        )
        for option in options_for(db, subscription)
        if not option.usage_based
    }
    others = select(Product).where(
        Product.price_type == "recurring_price",
        Product.currency == subscription.currency,
        Product.archived_at.is_(None) | (Product.id == subscription.product_id),
    )
    for row in db.scalars(others.order_by(Product.name, Product.id).limit(LIMIT)):
        current = row.id == subscription.product_id
        found.setdefault(
            row.id,
            StaffPlan(
                row.id,
                row.name,
                subscription.unit_minor if current else row.price_minor,
                row.tax_inclusive,
                row.currency,
                row.interval or subscription.interval,
                row.interval_count,
                current,
            ),
        )
    return list(found.values())
