"""Which subscriptions a price change is for, and why the others are left out. One SQL expression, for the preview and for the worker."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, case, exists, literal, or_

from billing.model.lifecycle import LIVE
from billing.model.price_changes import PriceChange, SubscriptionPriceChange
from billing.model.quotes import ScheduledChange
from billing.model.subscriptions import Subscription

Direction = Literal["raise", "lower"]
INCLUDED, WAITING = "included", "waiting"
EXCLUSIONS = ("external", "cancelling", "plan_change", "other_change", "currency", "price")
"""Reasons why a subscription is left out:

external: another system bills it. cancelling: it ends at the end of the period. plan_change: a plan change is scheduled, at the price that
the customer was shown. other_change: an earlier price change is not done yet. currency: it has another currency. price: it pays as much
or more already (lower: as little or less).
`waiting`: it is paused or not paid, and follows once it is active again.
"""


def group_of(unit_minor: Any, currency: Any, direction: Any, *, but: Any = None) -> ColumnElement[str]:
    """Return the expression of a subscription's group: INCLUDED, WAITING or one of EXCLUSIONS.

    `but`: the id of a price change whose own rows do not count as another change.
    """
    same = Subscription.business_id
    planned = (
        (ScheduledChange.business_id == same)
        & (ScheduledChange.subscription_id == Subscription.id)
        & ScheduledChange.cancelled_at.is_(None)
        & ScheduledChange.applied_at.is_(None)
    )
    other = and_(
        SubscriptionPriceChange.business_id == same,
        SubscriptionPriceChange.subscription_id == Subscription.id,
        SubscriptionPriceChange.status.in_(("planned", "announced")),
        *([SubscriptionPriceChange.price_change_id != but] if but is not None else []),
    )
    pays_it = or_(
        and_(direction == "raise", Subscription.unit_minor >= unit_minor), and_(direction == "lower", Subscription.unit_minor <= unit_minor)
    )
    return case(
        (Subscription.collected_by != "us", literal("external")),
        (Subscription.cancel_at_period_end, literal("cancelling")),
        (Subscription.currency != currency, literal("currency")),
        (pays_it, literal("price")),
        (_exists(ScheduledChange, planned), literal("plan_change")),
        (_exists(SubscriptionPriceChange, other), literal("other_change")),
        (Subscription.status != "active", literal(WAITING)),
        else_=literal(INCLUDED),
    )


def is_subscriber(product_id: Any) -> ColumnElement[bool]:
    """Whether it is a running subscription of the product."""
    return and_(Subscription.product_id == product_id, Subscription.status.in_(LIVE))


def is_left(change: PriceChange) -> ColumnElement[bool]:
    """Whether a subscription is to be planned for this change and has not been. Who subscribed after it was ordered keeps their price."""
    done = and_(
        SubscriptionPriceChange.business_id == Subscription.business_id,
        SubscriptionPriceChange.subscription_id == Subscription.id,
        SubscriptionPriceChange.price_change_id == change.id,
    )
    group = group_of(literal(change.unit_minor), literal(change.currency), literal(change.direction), but=change.id)
    return and_(
        is_subscriber(change.product_id),
        Subscription.created_at <= change.created_at,
        Subscription.next_billing_at.is_not(None),
        group == INCLUDED,
        ~_exists(SubscriptionPriceChange, done),
    )


def _exists(table: Any, condition: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(condition).select_from(table).correlate(Subscription)
