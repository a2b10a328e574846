"""How time passes when the billing clock is turned: where it has to stop, what comes sooner, and what happened meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import and_, func, or_, select, update

from billing.dunning import DUNNING_DAYS
from billing.lifecycle import LIVE
from billing.payments import Payment, Refund
from billing.subscriptions import Subscription
from core import clock
from core.db import ScopedSession
from core.outbox import Event

MIDNIGHT = {"hour": 0, "minute": 0, "second": 0, "microsecond": 0}
TOLD = ("subscription.renewed", "subscription.on_hold", "subscription.cancelled", "subscription.expired", "payment.failed")


def next_renewal(db: ScopedSession, after: datetime, businesses: Iterable[str] | None = None) -> datetime | None:
    """The first moment later than `after` at which a subscription is due: renewal, end of a trial, of a term, or of itself."""
    query = select(func.min(Subscription.next_billing_at)).where(
        Subscription.next_billing_at > after, Subscription.collected_by == "us",
        or_(Subscription.status == "active", and_(Subscription.status.in_(LIVE), Subscription.cancel_at_period_end)))
    if businesses is not None:
        query = query.where(Subscription.business_id.in_(businesses))
    return db.scalar(query)


def next_stop(db: ScopedSession, after: datetime) -> datetime:
    """Where a clock that is turned stops next, later than `after`: at every due date, at every reminder of a debt, and at
    every midnight (UTC), since a subscription that missed its dates renews once a day (safety 4.9)."""
    stops = [(after + timedelta(days=1)).replace(**MIDNIGHT)]  # type: ignore[arg-type]
    if due := next_renewal(db, after):
        stops.append(due)
    held = db.scalars(select(Subscription.on_hold_at).where(
        Subscription.status == "on_hold", Subscription.on_hold_at > after - timedelta(days=max(DUNNING_DAYS)))).all()
    stops += [moment for at in held if at for days in DUNNING_DAYS if (moment := at + timedelta(days=days)) > after]
    return min(stops)


def hasten(db: ScopedSession, by: timedelta) -> None:
    """Time passes at the bank too: what would be asked about within `by` is asked about now."""
    at = clock.wall()
    for table, is_open in ((Payment, Payment.is_open), (Refund, Refund.status == "pending")):
        db.execute(update(table).where(is_open, table.check_at > at, table.check_at <= at + by).values(check_at=at),
                   execution_options={"synchronize_session": False})


def happened(db: ScopedSession, since: datetime, until: datetime) -> dict[str, int]:
    """Event type → how often, of the types a merchant watches a year for."""
    query = select(Event.type, func.count()).where(Event.at > since, Event.at <= until, Event.type.in_(TOLD)).group_by(Event.type)
    return dict(db.execute(query).tuples().all())
