"""Which dates a subscription has after it was on hold and is paid (docs/decisions/0013-paid-late.md).

A period that is paid late keeps its dates, unless the business chose that a new period starts on the day of the payment. Periods that
passed while it was on hold are not billed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from billing import policy
from billing.calendar import nth
from billing.invoices import Invoice
from billing.parties import Business
from billing.subscriptions import Subscription
from core import clock
from core.db import ScopedSession


@dataclass(frozen=True)
class Dates:
    """`n`: the period that is running then; `next_at`: when the next one is charged."""

    n: int
    next_at: datetime
    anchor_at: datetime
    anchor_n: int
    restarted: bool


def dates_after(db: ScopedSession, subscription: Subscription, n: int) -> Dates:
    """If the n-th period is paid now, while the subscription is on hold."""
    business = db.scalar(select(Business).where(Business.business_id == subscription.business_id))
    at, rhythm = clock.now(), (subscription.interval, subscription.interval_count)
    if business is not None and policy.setting(business, "late_payment") == "restart_cycle":
        return Dates(n, nth(at, subscription.zone, *rhythm, 1), at, n - 1, True)
    assert subscription.anchor_at is not None
    anchor, first = subscription.anchor_at, subscription.anchor_n
    next_at = nth(anchor, subscription.zone, *rhythm, n - first)
    while next_at <= at:
        n += 1
        next_at = nth(anchor, subscription.zone, *rhythm, n - first)
    return Dates(n, next_at, anchor, first, False)


def move_dates(subscription: Subscription, dates: Dates) -> None:
    subscription.period_n, subscription.next_billing_at = dates.n, dates.next_at
    subscription.anchor_at, subscription.anchor_n = dates.anchor_at, dates.anchor_n


def after_payment(db: ScopedSession, subscription: Subscription, invoice: Invoice) -> tuple[datetime | None, int, bool]:
    """If the invoice is paid now: when the next period is charged (None: never), its number, and whether a new cycle starts today."""
    n = int(invoice.operation.rsplit(":", 1)[1]) if invoice.kind == "renewal" else subscription.period_n
    if subscription.anchor_at is None or subscription.next_billing_at is None:
        return None, n + 1, False
    if invoice.kind == "renewal" and subscription.status == "on_hold":
        after = dates_after(db, subscription, n)
        n, next_at, restarts = after.n, after.next_at, after.restarted
    else:
        rhythm, restarts = (subscription.interval, subscription.interval_count), False
        next_at = nth(subscription.anchor_at, subscription.zone, *rhythm, n - subscription.anchor_n)
        while invoice.kind != "renewal" and next_at <= clock.now():  # an unpaid plan change: the periods it missed are not billed
            n += 1
            next_at = nth(subscription.anchor_at, subscription.zone, *rhythm, n - subscription.anchor_n)
    over = subscription.cancel_at_period_end or (subscription.expires_at is not None and next_at >= subscription.expires_at)
    return None if over else next_at, n + 1, restarts
