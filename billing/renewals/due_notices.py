"""Shared helpers of the notice and dunning jobs: select due rows and lock subscriptions."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, select

from billing.model.parties import Business
from billing.model.subscriptions import Subscription
from core import recurring_jobs
from core.db import ScopedSession
from core.recurring_jobs import Row

BATCH = 50
IS_TRADING = select(Business.business_id).where(Business.business_id == Subscription.business_id, Business.archived_at.is_(None)).exists()
"""A closed business takes no payments, so its customers get no reminders."""


def lock_subscription(db: ScopedSession, subscription_id: str) -> Subscription | None:
    return db.scalar(select(Subscription).where(Subscription.id == subscription_id).with_for_update())


def select_due(db: ScopedSession, job: str, table: Any, order: Any, query: Select[Any, Any], *, limit: int = BATCH) -> list[Row]:
    """At most `limit` rows of the query by `order`, businesses in turn, without those that back off after a failure."""
    query = query.where(recurring_jobs.rested(job, table.business_id, table.id))
    found = db.execute(recurring_jobs.in_turns(query, table.business_id, order, table.id, limit=limit))
    return [(business_id, item) for business_id, item in found]
