"""Decide whether a customer may refund a payment themselves, how much, and until when. Reads nothing: `facts.py` has read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from billing.charging.refund_outcomes import refund_sums
from billing.charging.refunds import WINDOW
from billing.model import lifecycle
from billing.model.licenses import LicenseKey
from billing.model.payments import Payment
from billing.model.refund_policy import RefundPolicy, kind_of, refund_policy
from billing.model.subscriptions import Subscription
from billing.pricing import calendar
from billing.pricing.proration import share
from billing.self_refunds.facts import Facts
from core import clock


@dataclass(frozen=True)
class Condition:
    """One rule of the policy. `code`: kind, days, keys, months, plan or latest. `at`: the date it depends on.

    kind: `name` is the kind of the payment, or empty. days: day `used` of `limit`, and `at` is the end of the time. keys: `used`
    activations of `limit` (None: without limit). months: `at` is the end of the waiting time. plan: `at` is the change.
    """

    code: str
    is_met: bool
    at: datetime | None = None
    used: int = 0
    limit: int | None = None
    name: str = ""


@dataclass(frozen=True)
class Assessment:
    """`obstacle`: why nobody can refund it, or not now; None without one. `amount_minor` is refunded, with the tax of `sums`.

    `name`: what the invoice describes. `as_of`: the instant for which the unused time was counted. `seen`: the number of earlier refunds.
    """

    payment: Payment
    name: str
    subscription: Subscription | None
    policy: RefundPolicy
    obstacle: str | None
    conditions: Sequence[Condition]
    amount_minor: int
    sums: dict[str, Any]
    keys: Sequence[LicenseKey]
    paid_at: datetime
    deadline: datetime
    as_of: datetime
    seen: int

    @property
    def is_allowed(self) -> bool:
        return self.policy.is_on and self.obstacle is None and all(condition.is_met for condition in self.conditions)

    @property
    def ends_subscription(self) -> bool:
        found = self.subscription
        return found is not None and lifecycle.may(lifecycle.SUBSCRIPTION, found.status, "cancel")


def assess(facts: Facts, as_of: datetime | None = None) -> Assessment:
    """Assess a payment now. `as_of`: count the unused time for this instant instead, as it was shown."""
    now = clock.now()
    as_of = as_of or now
    policy = refund_policy(facts.business)
    deadline = deadline_of(policy, facts.paid_at, facts.business.zone, facts.payment.created_at)
    amount = amount_of(facts, policy, as_of)
    sums = refund_sums(facts.invoice, amount) if facts.invoice is not None and amount else {"lines": [], "subtotal_minor": 0, "tax": []}
    return Assessment(
        payment=facts.payment,
        name=facts.invoice.description if facts.invoice is not None else "",
        subscription=facts.subscription,
        policy=policy,
        obstacle=_obstacle(facts, now, amount),
        conditions=_conditions(facts, policy, now, deadline) if policy.is_on else (),
        amount_minor=amount,
        sums=sums,
        keys=facts.keys,
        paid_at=facts.paid_at,
        deadline=deadline,
        as_of=as_of,
        seen=len(facts.refunds),
    )


def deadline_of(policy: RefundPolicy, paid_at: datetime, zone: str, created_at: datetime) -> datetime:
    """Return the end of the last day, in the business's time zone. Never later than payments can be refunded."""
    day = paid_at.astimezone(ZoneInfo(zone)).date() + timedelta(days=policy.days + 1)
    end = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(paid_at.tzinfo)
    return min(end, created_at + WINDOW)


def amount_of(facts: Facts, policy: RefundPolicy, as_of: datetime) -> int:
    """Return the amount in minor units, tax included: what is left of the payment, or its unused share in seconds, rounded down.

    What was refunded before, for example by a withdrawal, counts as unused time that went back.
    """
    left, paid = facts.refundable_minor, facts.payment
    if policy.amount == "full" or facts.subscription is None:
        return left
    unused = int(paid.amount_minor * unused_share(facts, as_of) // 1)
    return min(left, max(unused - paid.refunded_minor, 0))


def unused_share(facts: Facts, as_of: datetime) -> Fraction:
    """Return the unused part of the period that the payment paid for, between 0 and 1.

    Time after a pause or after the end of the subscription is not used. A period that was moved by a pause ends on its new date.
    """
    invoice, subscription = facts.invoice, facts.subscription
    if invoice is None or subscription is None or invoice.starts_at is None or invoice.ends_at is None:
        return Fraction(0)
    has_date = subscription.status in ("active", "paused", "cancelled")
    ends_at = subscription.next_billing_at if has_date and subscription.next_billing_at else invoice.ends_at
    until = min(as_of, subscription.stopped_at or as_of)
    return share(max(ends_at - until, timedelta(0)), invoice.ends_at - invoice.starts_at)


def _obstacle(facts: Facts, now: datetime, amount: int) -> str | None:
    """Return the first reason why the payment cannot be refunded by the customer, whatever the policy says."""
    payment, subscription = facts.payment, facts.subscription
    by_other = subscription is not None and subscription.collected_by != "us"
    reasons = {
        "archived": facts.business.archived_at is not None,
        "unrecognized": not facts.customer.is_recognized,
        "external": payment.account_id is not None or payment.payment_account_id is None or by_other,
        "unpaid": payment.status != "succeeded",
        "nothing_paid": payment.amount_minor == 0,
        "in_progress": any(refund.status == "pending" for refund in facts.refunds),
        "refunded": payment.refunded_minor >= payment.amount_minor,
        "disputed": facts.is_disputed,
        "too_old": now - payment.created_at > WINDOW,
        "open_payment": facts.open_payment,
        "blocked": facts.customer.blocked_at is not None,
        "account_closed": facts.is_account_closed,
        "used_up": amount <= 0 < facts.refundable_minor and not payment.refunded_minor,
        "nothing_left": amount <= 0,
    }
    return next((code for code, applies in reasons.items() if applies), None)


def _conditions(facts: Facts, policy: RefundPolicy, now: datetime, deadline: datetime) -> tuple[Condition, ...]:
    kind = kind_of(facts.payment, facts.is_first)
    zone = ZoneInfo(facts.business.zone)
    day = (now.astimezone(zone).date() - facts.paid_at.astimezone(zone).date()).days
    limit = (deadline - timedelta(seconds=1)).astimezone(zone).date() - facts.paid_at.astimezone(zone).date()
    out = [
        Condition("kind", kind in policy.kinds, name=kind or ""),
        Condition("days", now < deadline, at=deadline, used=day, limit=limit.days),
    ]
    if policy.keys == "not_activated" and facts.keys:
        limits = [key.activations_limit for key in facts.keys]
        out.append(
            Condition(
                "keys",
                facts.activations == 0,
                used=facts.activations,
                limit=None if None in limits else sum(each for each in limits if each is not None),
            )
        )
    if policy.months:
        again = calendar.add(facts.used_at, facts.business.zone, "Month", policy.months) if facts.used_at else None
        out.append(Condition("months", again is None or again <= now, at=again))
    if facts.changed_at is not None:
        out.append(Condition("plan", False, at=facts.changed_at))
    elif not facts.is_latest:
        out.append(Condition("latest", False))
    return tuple(out)
