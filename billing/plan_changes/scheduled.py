"""Read scheduled plan changes for the API."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, select

from billing.model.catalogue import Product
from billing.model.quotes import ScheduledChange
from core.db import ScopedSession

Planned = tuple[ScheduledChange, str, str]
"""(the change, the product's name, the product's description)"""


def scheduled(db: ScopedSession, subscription_ids: Sequence[str]) -> dict[str, Planned]:
    """Map subscription ids to their scheduled change, for those that have one. One statement."""
    if not subscription_ids:
        return {}
    rows = db.execute(
        select(ScheduledChange, Product.name, Product.description)
        .join(Product, and_(Product.business_id == ScheduledChange.business_id, Product.id == ScheduledChange.product_id))
        .where(ScheduledChange.subscription_id.in_(subscription_ids), ScheduledChange.cancelled_at.is_(None),
               ScheduledChange.applied_at.is_(None))
    )  # fmt: skip
    return {row[0].subscription_id: (row[0], row[1], row[2]) for row in rows}
