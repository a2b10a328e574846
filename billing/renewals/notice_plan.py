"""Computes when the next charge of a subscription is announced (`notice_at`), by the rule for the customer's place.

The date is stored on the subscription, because the rules are not SQL. Every change of the subscription changes its version, and then the
date is computed again. Storing it does not change the version.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, literal_column, select, update

from billing.model import job_names
from billing.model.sent_notices import SentNotice
from billing.model.subscriptions import Subscription
from billing.pricing.calendar import add
from billing.renewals.due_notices import IS_TRADING, lock_subscription, select_due
from billing.rights.table import NoticeRule, Occasion
from billing.subscriptions.notice_rules import rule_of
from core.db import ScopedSession
from core.recurring_jobs import Row

PLANNED_AT_ONCE = 200


@dataclass(frozen=True)
class Upcoming:
    """The notice ahead of the next charge at `charge_at`. `at`: when it is sent. None: this charge is not announced."""

    rule: NoticeRule
    charge_at: datetime
    at: datetime | None

    @property
    def occasion(self) -> Occasion:
        return self.rule.occasion


def upcoming(db: ScopedSession, subscription: Subscription) -> Upcoming | None:
    """Return the notice ahead of the next charge. None if nothing will be charged, or another system charges it."""
    charge_at = subscription.next_billing_at
    if subscription.status != "active" or subscription.collected_by != "us" or subscription.cancel_at_period_end or charge_at is None:
        return None
    if subscription.expires_at and charge_at >= subscription.expires_at:
        return None
    occasion: Occasion = "trial_end" if subscription.is_trial else "renewal"
    rule = rule_of(db, subscription, occasion)
    if rule.every == "year" and not _is_last_within_a_year(db, subscription, charge_at):
        return Upcoming(rule, charge_at, None)
    return Upcoming(rule, charge_at, charge_at - _ahead(subscription, rule.send))


def shortest_notice(subscription: Subscription, rule: NoticeRule) -> timedelta:
    """Return how long before the charge the notice must be sent. For a trial at most half of it."""
    return _ahead(subscription, rule.latest)


def _ahead(subscription: Subscription, days: int) -> timedelta:
    """Return `days`, or half of a trial that is shorter."""
    ahead = timedelta(days=days)
    if subscription.is_trial and subscription.trial_ends_at and subscription.previous_billing_at:
        trial = subscription.trial_ends_at - subscription.previous_billing_at
        return ahead if trial >= ahead else trial / 2
    return ahead


def _is_last_within_a_year(db: ScopedSession, subscription: Subscription, charge_at: datetime) -> bool:
    """Whether the charge after this one would be more than a year after the start, or after the charge announced last."""
    announced = db.scalar(
        select(func.max(SentNotice.for_at)).where(
            SentNotice.business_id == subscription.business_id,
            SentNotice.noun_id == subscription.id,
            SentNotice.purpose == "renewal",
            SentNotice.for_at < charge_at,
        )
    )
    since = announced or subscription.created_at
    following = add(charge_at, subscription.zone, subscription.interval, subscription.interval_count)
    return following > add(since, subscription.zone, "Year", 1) + timedelta(days=1)


def unplanned(db: ScopedSession) -> list[Row]:
    """Running subscriptions that changed since their notice was planned."""
    return select_due(
        db,
        job_names.NOTICE_PLANS,
        Subscription,
        Subscription.next_billing_at,
        select(Subscription.business_id, Subscription.id).where(
            Subscription.collected_by == literal_column("'us'"),
            Subscription.status == literal_column("'active'"),
            func.coalesce(Subscription.notice_version, literal_column("0")) != Subscription.version,
            IS_TRADING,
        ),
        limit=PLANNED_AT_ONCE,
    )


def plan(db: ScopedSession, subscription_id: str) -> None:
    """Store when the next charge is announced."""
    subscription = lock_subscription(db, subscription_id)
    if subscription is None:
        return
    notice = upcoming(db, subscription)
    store(db, subscription, notice.at if notice and not announced_at(db, subscription) else None)


def store(db: ScopedSession, subscription: Subscription, at: datetime | None) -> None:
    """Store the date without changing the subscription's version, so that quotes stay valid."""
    db.flush()
    db.execute(
        update(Subscription)
        .where(Subscription.id == subscription.id, Subscription.version == subscription.version)
        .values(notice_at=at, notice_version=subscription.version),
        execution_options={"synchronize_session": False},
    )


def announced_at(db: ScopedSession, subscription: Subscription) -> datetime | None:
    """Return when the next charge was announced. None: not yet, or for another date."""
    return db.scalar(
        select(SentNotice.at).where(
            SentNotice.business_id == subscription.business_id,
            SentNotice.noun_id == subscription.id,
            SentNotice.purpose == "renewal",
            SentNotice.for_at == subscription.next_billing_at,
        )
    )


def announced_in_time(db: ScopedSession, subscription: Subscription, rule: NoticeRule) -> datetime | None:
    """Return when the charge that is due was first announced, for its date or for an earlier one that a pause has moved since.

    A customer who pauses for a moment after the notice does not delay the charge. A notice before `earliest` does not count.
    """
    charge_at, since = subscription.next_billing_at, subscription.previous_billing_at
    if charge_at is None:
        return None
    return db.scalar(
        select(func.min(SentNotice.at)).where(
            SentNotice.business_id == subscription.business_id,
            SentNotice.noun_id == subscription.id,
            SentNotice.purpose == "renewal",
            (SentNotice.for_at == charge_at)
            | (
                (SentNotice.for_at > (since or subscription.created_at))
                & (SentNotice.for_at < charge_at)
                & (SentNotice.at >= charge_at - timedelta(days=rule.earliest))
            ),
        )
    )
