"""Pages of subscriptions that have not ended: unpaid ones first, then by next billing date. One statement a page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import case, func, literal, or_

from billing.model.lifecycle import UNPAID_STATES
from billing.model.subscriptions import Subscription
from billing.subscriptions.queries import SHOWN, unique_rows
from billing.subscriptions.row_query import select_rows
from billing.subscriptions.subscription_row import SubscriptionRow
from core.db import ScopedSession

Mark = tuple[datetime, str]
"""(next billing date, "rank.id") of the last row of a page."""
FAR = datetime(2201, 1, 1, tzinfo=UTC)
"""Sorts after every real date: subscriptions without a next billing date come last."""


@dataclass(frozen=True)
class SubscriptionPage:
    rows: list[SubscriptionRow]
    next: Mark | None  # None on the last page


def page(db: ScopedSession, after: Mark | None, limit: int) -> SubscriptionPage:
    """One page: unpaid subscriptions first, paused ones last, each by next billing date. `after`: mark of the last row seen."""
    rank = case((Subscription.status.in_(UNPAID_STATES), 0), (Subscription.status == "paused", 2), else_=1)
    at = func.coalesce(Subscription.next_billing_at, literal(FAR, Subscription.next_billing_at.type))
    query = select_rows(db).where(Subscription.status.in_(SHOWN)).order_by(rank, at, Subscription.id)
    if after is not None:
        moment, position = after
        digits, _dot, item = position.partition(".")
        n = int(digits) if digits.isdigit() else 0
        query = query.where(or_(rank > n, (rank == n) & ((at > moment) | ((at == moment) & (Subscription.id > item)))))
    found = db.execute(query.limit(limit + 1)).all()
    rows = unique_rows(found)[:limit]  # several open invoices repeat their subscription
    is_cut = bool(rows) and len(found) > limit
    return SubscriptionPage(rows, _mark(rows[-1]) if is_cut else None)


def _mark(row: SubscriptionRow) -> Mark:
    rank = 0 if row.status in UNPAID_STATES else 2 if row.status == "paused" else 1
    return row.next_billing_at or FAR, f"{rank}.{row.id}"
