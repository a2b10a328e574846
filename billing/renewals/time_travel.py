"""Support for turning the billing clock: where it must stop, which checks run earlier, and what happened in between."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import and_, func, or_, select, update

from billing.model.lifecycle import LIVE
from billing.model.payments import Payment, Refund
from billing.model.price_changes import SubscriptionPriceChange
from billing.model.subscriptions import Subscription
from billing.renewals.dunning import DUNNING_DAYS
from core import clock
from core.db import ScopedSession
from core.outbox import Event

MIDNIGHT = {"hour": 0, "minute": 0, "second": 0, "microsecond": 0}
REPORTED = ("subscription.renewed", "subscription.on_hold", "subscription.cancelled", "subscription.expired", "payment.failed")


def next_renewal(db: ScopedSession, after: datetime, businesses: Iterable[str] | None = None) -> datetime | None:
    """The first moment after `after` at which a subscription is due: a renewal, the end of a trial or term, or a cancellation."""
    query = select(func.min(Subscription.next_billing_at)).where(
        Subscription.next_billing_at > after,
        Subscription.collected_by == "us",
        or_(Subscription.status == "active", and_(Subscription.status.in_(LIVE), Subscription.cancel_at_period_end)),
    )
    if businesses is not None:
        query = query.where(Subscription.business_id.in_(businesses))
    return db.scalar(query)


def next_stop(db: ScopedSession, after: datetime) -> datetime:
    """The next moment after `after` at which a turned clock must stop: due dates, notices, dunning reminders and midnights (UTC).

    Midnights, because a subscription that missed its dates renews once a day (safety 4.9).
    """
    stops = [(after + timedelta(days=1)).replace(**MIDNIGHT)]  # type: ignore[arg-type]
    if due := next_renewal(db, after):
        stops.append(due)
    on_hold = db.scalars(
        select(Subscription.on_hold_at).where(
            Subscription.status == "on_hold", Subscription.on_hold_at > after - timedelta(days=max(DUNNING_DAYS))
        )
    ).all()
    for column in (Subscription.notice_at, Subscription.charge_from):
        if at := db.scalar(select(func.min(column)).where(column > after, Subscription.status == "active")):
            stops.append(at)
    planned = SubscriptionPriceChange
    if at := db.scalar(select(func.min(planned.announce_at)).where(planned.status == "planned", planned.announce_at > after)):
        stops.append(at)
    stops += [moment for at in on_hold if at for days in DUNNING_DAYS if (moment := at + timedelta(days=days)) > after]
    return min(stops)


def bring_checks_forward(db: ScopedSession, by: timedelta) -> None:
    """Make checks of open payments and refunds that would be due within `by` due now."""
    at = clock.wall()
    for table, is_open in ((Payment, Payment.is_open), (Refund, Refund.status == "pending")):
        db.execute(
            update(table).where(is_open, table.check_at > at, table.check_at <= at + by).values(check_at=at),
            execution_options={"synchronize_session": False},
        )


def count_events(db: ScopedSession, since: datetime, until: datetime) -> dict[str, int]:
    """Count the events of the `REPORTED` types after `since`, up to `until`, by type."""
    query = select(Event.type, func.count()).where(Event.at > since, Event.at <= until, Event.type.in_(REPORTED)).group_by(Event.type)
    return dict(db.execute(query).tuples().all())
