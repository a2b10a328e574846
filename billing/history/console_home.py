"""Read the home page of the console: what needs attention, the figures of this month, and the next renewals."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import case, func, literal_column, select

from billing.history.staff_lists import StaffSubscriptionRow, subscriptions_with_names
from billing.model.catalogue import Product
from billing.model.parties import Customer
from billing.model.payments import Payment, Refund
from billing.model.subscriptions import Subscription
from core import clock
from core.db import ScopedSession

AHEAD = timedelta(days=30)
SHOWN = 5


@dataclass(frozen=True, slots=True)
class MonthTotal:
    """Amounts of one currency, in its smallest unit. `paid_minor` and `refunded_minor`: since the first day of this month."""

    currency: str
    paid_minor: int = 0
    refunded_minor: int = 0
    paid_before_minor: int = 0


@dataclass(frozen=True, slots=True)
class HomeFigures:
    """`by_status`: number of subscriptions by status. `renewals`: the first of the next 30 days."""

    by_status: dict[str, int]
    customers: int
    has_product: bool
    totals: list[MonthTotal] = field(default_factory=list)
    renewals: list[StaffSubscriptionRow] = field(default_factory=list)


def figures(db: ScopedSession, month: datetime, month_before: datetime) -> HomeFigures:
    """`month`, `month_before`: when this month and the month before began, in the business's time zone."""
    by_status = {status: count for status, count in db.execute(select(Subscription.status, func.count()).group_by(Subscription.status))}
    return HomeFigures(
        by_status,
        customers=db.scalar(select(func.count()).select_from(Customer)) or 0,
        has_product=db.scalar(select(Product.id).where(Product.archived_at.is_(None)).limit(1)) is not None,
        totals=_totals(db, month, month_before),
        renewals=_renewals(db),
    )


def _totals(db: ScopedSession, month: datetime, month_before: datetime) -> list[MonthTotal]:
    """Largest amount of this month first. Payments count in the month they began in; refunds in the month they were made in."""
    now = func.sum(case((Payment.created_at >= month, Payment.amount_minor), else_=0))
    before = func.sum(case((Payment.created_at < month, Payment.amount_minor), else_=0))
    paid = db.execute(
        select(Payment.currency, now, before)
        .where(Payment.created_at >= month_before, Payment.status == "succeeded", Payment.amount_minor > 0)
        .group_by(Payment.currency)
    )
    refunded: dict[str, int] = {
        currency: int(minor)
        for currency, minor in db.execute(
            select(Refund.currency, func.sum(Refund.amount_minor))
            .where(Refund.created_at >= month, Refund.status == "succeeded")
            .group_by(Refund.currency)
        )
    }
    totals = [MonthTotal(currency, int(this), refunded.pop(currency, 0), int(last)) for currency, this, last in paid]
    totals += [MonthTotal(currency, 0, minor) for currency, minor in refunded.items()]
    return sorted(totals, key=lambda total: (-total.paid_minor, total.currency))


def _renewals(db: ScopedSession) -> list[StaffSubscriptionRow]:
    query: Any = subscriptions_with_names().where(
        Subscription.collected_by == literal_column("'us'"),  # literals, so that the partial index is used
        Subscription.status + literal_column("''") == literal_column("'active'"),
        Subscription.cancel_at_period_end.is_(False),
        Subscription.next_billing_at <= clock.now() + AHEAD,
    )
    rows = db.execute(query.order_by(Subscription.next_billing_at, Subscription.id).limit(SHOWN))
    return [StaffSubscriptionRow(*row) for row in rows]
