"""Plan, announce, stop and apply a price change for single subscriptions. Called by the worker, in the scope of the business."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import select

from billing.model import lifecycle
from billing.model.events import emit_about
from billing.model.parties import Business
from billing.model.price_changes import PriceChange, SubscriptionPriceChange
from billing.model.subscriptions import Subscription
from billing.price_changes.schedule import Schedule, schedule_of
from billing.price_changes.selection import is_left
from billing.pricing import prices
from billing.rights.places import place_of
from billing.rights.table import NoticeRule
from billing.subscriptions import queries
from billing.subscriptions.notice_rules import rule_of
from core import clock
from core.db import ScopedSession
from core.ids import new_id

AT_ONCE = 200


def plan(db: ScopedSession, change_id: str) -> None:
    """Plan the change for the next subscribers, at most `AT_ONCE`. When none is left, note the time."""
    change = db.scalar(select(PriceChange).where(PriceChange.id == change_id).with_for_update())
    if change is None or change.stopped_at is not None:
        return
    ids = list(db.scalars(select(Subscription.id).where(is_left(change)).order_by(Subscription.id).limit(AT_ONCE)))
    for subscription_id in ids:
        subscription = db.scalar(select(Subscription).where(Subscription.id == subscription_id).with_for_update())
        if subscription is not None:
            _plan_one(db, change, subscription)
    if len(ids) < AT_ONCE:
        change.planned_at = clock.now()


def _plan_one(db: ScopedSession, change: PriceChange, subscription: Subscription) -> None:
    rule = rule_of(db, subscription, "price_change") if change.direction == "raise" else None
    schedule = schedule_of(subscription, rule, change.effective_at)
    old, new = totals(db, subscription, change.unit_minor, schedule)
    status = "kept" if schedule is None else "announced" if rule is None else "planned"
    db.add(
        SubscriptionPriceChange(
            business_id=subscription.business_id,
            customer_id=subscription.customer_id,
            id=new_id("spr"),
            price_change_id=change.id,
            subscription_id=subscription.id,
            status=status,
            currency=subscription.currency,
            old_unit_minor=subscription.unit_minor,
            unit_minor=change.unit_minor,
            old_total_minor=old,
            total_minor=new,
            needs_consent=bool(rule and rule.consent),
            jurisdiction=place_of(subscription.billing),
            announce_at=schedule.announce_at if schedule else clock.now(),
            applies_at=schedule.applies_at if schedule else change.effective_at,
        )
    )
    db.flush()


def announce(db: ScopedSession, row_id: str) -> None:
    """Tell the subscriber of the change. The dates are computed again first, because they may have moved since it was planned."""
    row, subscription = _load(db, row_id)
    if row is None or subscription is None or row.status != "planned" or subscription.status != "active":
        return
    change = _change_of(db, row)
    if change is None or change.stopped_at is not None:
        return
    if is_superseded(row, change, subscription) or subscription.cancel_at_period_end:
        close(row, "supersede")
        return
    rule = rule_of(db, subscription, "price_change")
    schedule = schedule_of(subscription, rule, change.effective_at)
    if schedule is None:
        close(row, "supersede")
        return
    row.announce_at, row.applies_at, row.needs_consent = schedule.announce_at, schedule.applies_at, rule.consent
    row.jurisdiction = place_of(subscription.billing)
    if schedule.announce_at > clock.now():
        return
    row.old_total_minor, row.total_minor = totals(db, subscription, row.unit_minor, schedule)
    row.status, row.announced_at = lifecycle.move(lifecycle.PRICE_CHANGE, row.status, "announce"), clock.now()
    _emit(db, subscription, row, "subscription.price_change_announced", rule=rule)


def stop(db: ScopedSession, row_id: str) -> None:
    """Close the row of a change that the business stopped, or whose subscription ended. Who was told of the change is told that the price
    stays."""
    row, subscription = _load(db, row_id)
    if row is None or subscription is None or row.status not in ("planned", "announced"):
        return
    if subscription.status in lifecycle.ENDED:
        close(row, "supersede")
        return
    close(row, "stop")
    if row.announced_at is not None:
        _emit(db, subscription, row, "subscription.price_change_stopped")


def apply_due(db: ScopedSession, subscription: Subscription, *, plan_changed: bool) -> None:
    """Apply the announced change when a period is about to be billed, or keep the old price. The subscription is locked.

    `plan_changed`: a scheduled plan change was applied just now, at the price that the customer was shown. It counts.
    """
    row = db.scalar(
        select(SubscriptionPriceChange)
        .where(SubscriptionPriceChange.subscription_id == subscription.id, SubscriptionPriceChange.status == "announced")
        .with_for_update()
    )
    if row is None or subscription.next_billing_at is None or subscription.next_billing_at < row.applies_at:
        return
    change = _change_of(db, row)
    if change is None or change.stopped_at is not None:
        return  # the worker closes it
    if plan_changed or is_superseded(row, change, subscription):
        close(row, "supersede")
    elif row.answer == "accepted" or not row.needs_consent:
        close(row, "apply")
        subscription.unit_minor = row.unit_minor
        _emit(db, subscription, row, "subscription.price_changed")
    else:
        close(row, "keep")
        _emit(db, subscription, row, "subscription.price_kept")


def is_superseded(row: SubscriptionPriceChange, change: PriceChange, subscription: Subscription) -> bool:
    """Whether another plan or another price was agreed since the change was planned."""
    return subscription.product_id != change.product_id or subscription.unit_minor != row.old_unit_minor


def close(row: SubscriptionPriceChange, verb: str) -> None:
    row.status = lifecycle.move(lifecycle.PRICE_CHANGE, row.status, verb)


def totals(db: ScopedSession, subscription: Subscription, unit_minor: int, schedule: Schedule | None) -> tuple[int, int]:
    """Return (old, new) total of the first period with the new price, tax and discounts included, by the function that makes the charge."""
    business = db.scalar(select(Business).where(Business.business_id == subscription.business_id))
    assert business is not None
    product = queries.product_of(db, subscription.business_id, subscription.product_id)
    at: datetime = schedule.applies_at if schedule else clock.now()
    n = schedule.period_n if schedule else None
    row = queries.get_subscription(db, subscription.id)
    before, after = (
        prices.total(prices.for_period(business, replace(row, unit_minor=minor), product, at, at, n))
        for minor in (subscription.unit_minor, unit_minor)
    )
    return before, after


def _change_of(db: ScopedSession, row: SubscriptionPriceChange) -> PriceChange | None:
    return db.scalar(select(PriceChange).where(PriceChange.id == row.price_change_id))


def _load(db: ScopedSession, row_id: str) -> tuple[SubscriptionPriceChange | None, Subscription | None]:
    """Return the row and its subscription, locked in the order of a renewal: the subscription first."""
    wanted = select(SubscriptionPriceChange.subscription_id).where(SubscriptionPriceChange.id == row_id)
    subscription = db.scalar(select(Subscription).where(Subscription.id == wanted.scalar_subquery()).with_for_update())
    return db.scalar(select(SubscriptionPriceChange).where(SubscriptionPriceChange.id == row_id).with_for_update()), subscription


def _emit(
    db: ScopedSession, subscription: Subscription, row: SubscriptionPriceChange, type: str, *, rule: NoticeRule | None = None
) -> None:
    source: dict[str, Any] = {"source": rule.source} if rule else {}
    emit_about(
        db,
        subscription,
        type,
        price_change_id=row.price_change_id,
        old_amount=row.old_total_minor,
        amount=row.total_minor,
        currency=row.currency,
        next_billing_at=row.applies_at.isoformat(),
        needs_consent=row.needs_consent,
        place=row.jurisdiction,
        **source,
    )
