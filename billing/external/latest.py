"""Finds the latest delegated action of a subscription for display."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from billing.model.delegated_actions import DelegatedAction
from core import clock
from core.db import ScopedSession

SHOW_CONFIRMED = timedelta(minutes=5)
SHOW_REFUSED = timedelta(days=7)


def latest(db: ScopedSession, business_id: str, subscription_id: str) -> DelegatedAction | None:
    """Return the newest action if it waits for an answer or for the customer, was refused or unanswered recently, or was just confirmed."""
    row = db.scalar(
        select(DelegatedAction)
        .where(DelegatedAction.business_id == business_id, DelegatedAction.subscription_id == subscription_id)
        .order_by(DelegatedAction.created_at.desc(), DelegatedAction.id.desc())
        .limit(1)
    )
    if row is None or row.status == "pending" or (row.status == "opened" and row.verb != "change_method"):
        return row
    shown_for = {"refused": SHOW_REFUSED, "unanswered": SHOW_REFUSED, "confirmed": SHOW_CONFIRMED}.get(row.status)
    return row if shown_for and row.answered_at and clock.wall() - row.answered_at < shown_for else None
