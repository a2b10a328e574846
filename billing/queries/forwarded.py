"""What was asked of another system for a subscription, last."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from billing.forwarded import ForwardedAct
from core import clock
from core.db import ScopedSession

SAID = timedelta(minutes=5)  # how long a confirmation is worth a note
REFUSED = timedelta(days=7)


def latest(db: ScopedSession, business_id: str, subscription_id: str) -> ForwardedAct | None:
    """The newest act that still has something to say: it waits, was refused or given up lately, or was confirmed just now."""
    row = db.scalar(
        select(ForwardedAct).where(ForwardedAct.business_id == business_id, ForwardedAct.subscription_id == subscription_id)
        .order_by(ForwardedAct.created_at.desc(), ForwardedAct.id.desc()).limit(1)
    )
    if row is None or row.status == "pending":
        return row
    kept = {"refused": REFUSED, "unanswered": REFUSED, "confirmed": SAID}.get(row.status)
    return row if kept and row.answered_at and clock.wall() - row.answered_at < kept else None
