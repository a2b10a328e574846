"""Count a customer's own rows for the pages of the customer API. The scope of the session limits what is counted."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from billing.model.payments import Payment, Refund
from billing.model.subscriptions import Subscription
from core.db import ScopedSession


def subscriptions(db: ScopedSession) -> int:
    return _count(db, Subscription)


def payments(db: ScopedSession, subscription_id: str | None = None) -> int:
    return _count(db, Payment, subscription_id)


def refunds(db: ScopedSession, subscription_id: str | None = None) -> int:
    return _count(db, Refund, subscription_id)


def _count(db: ScopedSession, model: Any, subscription_id: str | None = None) -> int:
    query = select(func.count()).select_from(model)
    if subscription_id is not None:
        query = query.where(model.subscription_id == subscription_id)
    return int(db.scalar(query) or 0)
