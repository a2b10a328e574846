"""Calculates the dates of a subscription that is paid after it was on hold (docs/decisions/0013-paid-late.md).

A period that is paid late keeps its dates, unless the business chose that a new period starts on the day of the payment. Periods that
passed on hold are not billed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from billing.model import policy
from billing.model.invoices import Invoice
from billing.model.parties import Business
from billing.model.subscriptions import Subscription
from billing.pricing.calendar import nth
from core import clock
from core.db import ScopedSession


@dataclass(frozen=True)
class Dates:
    """`n` is the number of the current period after the payment, `next_at` the date of the next charge."""

    n: int
    next_at: datetime
    anchor_at: datetime
    anchor_n: int
    restarted: bool


def dates_after(db: ScopedSession, subscription: Subscription, n: int) -> Dates:
    """Return the dates if the n-th period is paid now, while the subscription is on hold."""
    business = db.scalar(select(Business).where(Business.business_id == subscription.business_id))
    at, cycle = clock.now(), (subscription.interval, subscription.interval_count)
    if business is not None and policy.setting(business, "late_payment") == "restart_cycle":
        return Dates(n, nth(at, subscription.zone, *cycle, 1), at, n - 1, True)
    assert subscription.anchor_at is not None
    anchor, first = subscription.anchor_at, subscription.anchor_n
    next_at = nth(anchor, subscription.zone, *cycle, n - first)
    while next_at <= at:
        n += 1
        next_at = nth(anchor, subscription.zone, *cycle, n - first)
    return Dates(n, next_at, anchor, first, False)


def move_dates(subscription: Subscription, dates: Dates) -> None:
    subscription.period_n, subscription.next_billing_at = dates.n, dates.next_at
    subscription.anchor_at, subscription.anchor_n = dates.anchor_at, dates.anchor_n


def after_payment(db: ScopedSession, subscription: Subscription, invoice: Invoice) -> tuple[datetime | None, int, bool]:
    """Return what follows if the invoice is paid now: the date of the next charge, its period number, and whether a new cycle starts today.

    The date is None if nothing is charged any more.
    """
    n = int(invoice.operation.rsplit(":", 1)[1]) if invoice.kind == "renewal" else subscription.period_n
    if subscription.anchor_at is None or subscription.next_billing_at is None:
        return None, n + 1, False
    if invoice.kind == "renewal" and subscription.status == "on_hold":
        after = dates_after(db, subscription, n)
        n, next_at, restarts = after.n, after.next_at, after.restarted
    else:
        cycle, restarts = (subscription.interval, subscription.interval_count), False
        next_at = nth(subscription.anchor_at, subscription.zone, *cycle, n - subscription.anchor_n)
        while invoice.kind != "renewal" and next_at <= clock.now():  # after an unpaid plan change, missed periods are not billed
            n += 1
            next_at = nth(subscription.anchor_at, subscription.zone, *cycle, n - subscription.anchor_n)
    over = subscription.cancel_at_period_end or (subscription.expires_at is not None and next_at >= subscription.expires_at)
    return None if over else next_at, n + 1, restarts
