"""When a price change is announced to a subscriber, and from which renewal it counts, by the rule of law for the subscriber."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from billing.model.subscriptions import Subscription
from billing.pricing.calendar import nth
from billing.rights.table import NoticeRule
from core import clock

MOST_PERIODS = 1_000


@dataclass(frozen=True)
class Schedule:
    """`period_n`: the number of the first period with the new price."""

    announce_at: datetime
    applies_at: datetime
    period_n: int


def schedule_of(subscription: Subscription, rule: NoticeRule | None, effective_at: datetime) -> Schedule | None:
    """Return the first renewal on or after `effective_at` that can still be announced in time, and when to announce it.

    The first charge after a trial keeps the price that was shown. `rule` None: no announcement is needed, as for a lower price.
    None: the subscription ends before.
    """
    at, latest = clock.now(), timedelta(days=rule.latest if rule else 0)
    for k in range(1 if subscription.is_trial and rule else 0, MOST_PERIODS):
        renewal = _renewal(subscription, k)
        if subscription.expires_at and renewal >= subscription.expires_at:
            return None
        if renewal >= effective_at and renewal - latest >= at:
            return Schedule(max(at, renewal - timedelta(days=rule.send)) if rule else at, renewal, subscription.period_n + 1 + k)
    return None


def _renewal(subscription: Subscription, k: int) -> datetime:
    """Return the k-th renewal from now; 0 is the next one."""
    assert subscription.next_billing_at is not None and subscription.anchor_at is not None
    if k == 0:
        return subscription.next_billing_at
    periods = subscription.period_n + k - subscription.anchor_n
    return nth(subscription.anchor_at, subscription.zone, subscription.interval, subscription.interval_count, periods)
