"""Plans that staff may move a subscription to: every recurring product on sale in its currency, its collection's first."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from billing.catalogue import Product
from billing.plans import options_for
from billing.subscriptions import Subscription
from core.db import ScopedSession
from core.errors import NotFound

LIMIT = 200


@dataclass(frozen=True)
class StaffPlan:
    """`unit_minor`: the price of one, before tax unless `tax_inclusive`."""

    product_id: str
    name: str
    unit_minor: int
    tax_inclusive: bool
    currency: str
    interval: str
    interval_count: int
    is_current: bool


def plans_for(db: ScopedSession, subscription_id: str) -> list[StaffPlan]:
    """Raises NotFound."""
    held = db.scalar(select(Subscription).where(Subscription.id == subscription_id))
    if held is None:
        raise NotFound(sentence="There is no such subscription.")
    found = {one.product_id: StaffPlan(one.product_id, one.name, one.unit_minor, one.tax_inclusive, one.currency, one.interval,
                                       one.interval_count, one.is_current)
             for one in options_for(db, held) if not one.usage_based}
    others = select(Product).where(Product.price_type == "recurring_price", Product.currency == held.currency,
                                   Product.archived_at.is_(None) | (Product.id == held.product_id))
    for row in db.scalars(others.order_by(Product.name, Product.id).limit(LIMIT)):
        current = row.id == held.product_id
        found.setdefault(row.id, StaffPlan(
            row.id, row.name, held.unit_minor if current else row.price_minor, row.tax_inclusive, row.currency,
            row.interval or held.interval, row.interval_count, current))
    return list(found.values())
