"""Run by the worker: plan ordered price changes for their subscribers, announce them in time, and close those that were stopped."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import and_, or_, select

from billing.model import job_names
from billing.model.lifecycle import ENDED
from billing.model.parties import Business
from billing.model.price_changes import PriceChange, SubscriptionPriceChange
from billing.model.subscriptions import Subscription
from billing.renewals.due_notices import select_due
from core import clock
from core.db import ScopedSession
from core.recurring_jobs import Row

AGAIN = timedelta(hours=1)
"""How often the subscribers are looked through again: paused and unpaid ones follow once they are active."""
_OPEN = ("planned", "announced")


def to_plan(db: ScopedSession) -> list[Row]:
    """Price changes whose subscribers are not all planned, or were looked through some time ago."""
    trading = select(Business.business_id).where(Business.business_id == PriceChange.business_id, Business.archived_at.is_(None))
    query = select(PriceChange.business_id, PriceChange.id).where(
        PriceChange.stopped_at.is_(None),
        or_(PriceChange.planned_at.is_(None), PriceChange.planned_at <= clock.now() - AGAIN),
        trading.exists(),
    )
    return select_due(db, job_names.PRICE_CHANGE_PLANS, PriceChange, PriceChange.created_at, query)


def to_announce(db: ScopedSession) -> list[Row]:
    """Planned changes of single subscriptions that are to be announced now."""
    row = SubscriptionPriceChange
    trading = select(Business.business_id).where(Business.business_id == row.business_id, Business.archived_at.is_(None))
    query = (
        select(row.business_id, row.id)
        .join(Subscription, and_(Subscription.business_id == row.business_id, Subscription.id == row.subscription_id))
        .join(PriceChange, and_(PriceChange.business_id == row.business_id, PriceChange.id == row.price_change_id))
        .where(row.status == "planned", row.announce_at <= clock.now(), Subscription.status == "active",
               PriceChange.stopped_at.is_(None), trading.exists())
    )  # fmt: skip
    return select_due(db, job_names.PRICE_CHANGE_NOTICES, row, row.announce_at, query)


def to_stop(db: ScopedSession) -> list[Row]:
    """Open changes of single subscriptions whose price change was stopped, or which have ended."""
    row = SubscriptionPriceChange
    query = (
        select(row.business_id, row.id)
        .join(Subscription, and_(Subscription.business_id == row.business_id, Subscription.id == row.subscription_id))
        .join(PriceChange, and_(PriceChange.business_id == row.business_id, PriceChange.id == row.price_change_id))
        .where(row.status.in_(_OPEN), or_(PriceChange.stopped_at.is_not(None), Subscription.status.in_(ENDED)))
    )
    return select_due(db, job_names.PRICE_CHANGE_STOPS, row, row.announce_at, query)
