"""Move the next billing date of a subscription or extend its term, for the business. At most two charges per period's length."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, select

from billing.model.events import emit_subscription_event
from billing.model.invoices import Invoice
from billing.model.lifecycle import LIVE
from billing.model.payments import Payment
from billing.model.quotes import scheduled_change
from billing.model.subscriptions import Subscription, load_subscription
from billing.pricing.calendar import add, nth
from core import clock
from core.db import ScopedSession
from core.errors import N_, Conflict, Invalid

CHARGES_PER_PERIOD = 2
FARTHEST = timedelta(days=3660)


def move_next_date(db: ScopedSession, subscription_id: str, at: datetime) -> Subscription:
    """Move the next charge to `at`; later dates count from it. The customer is emailed (safety 4.9).

    Raises NotFound, Invalid (past, or after the term; field next_billing_date), Conflict SUBSCRIPTION_INACTIVE,
    UNSUPPORTED_ACTION, CHARGE_NOT_ALLOWED_FOR_SCHEDULED_CANCELLATION, PREVIOUS_PAYMENT_PENDING, BILLING_DATE_LIMIT_REACHED.
    """
    subscription = load_subscription(db, subscription_id)
    was, now = subscription.next_billing_at, clock.now()
    _check_billed_here(subscription)
    if subscription.status != "active" or was is None:
        raise Conflict("SUBSCRIPTION_INACTIVE", f"This is {subscription.status.replace('_', ' ')}; its billing date cannot be changed.")
    if not now < at <= now + FARTHEST:
        problem = "The date must be in the future."
        raise Invalid(sentence=f"next_billing_date: {problem}", fields={"next_billing_date": problem})
    if subscription.expires_at is not None and at > subscription.expires_at:
        problem = "The date is after the end of the subscription's term."
        raise Invalid(sentence=f"next_billing_date: {problem}", fields={"next_billing_date": problem})
    if subscription.cancel_at_period_end:
        problem = "This subscription is scheduled to end and will not be charged again. Keep it first, then move the date."
        raise Conflict("CHARGE_NOT_ALLOWED_FOR_SCHEDULED_CANCELLATION", problem)
    if at == was:
        return subscription
    if was <= now or db.scalar(select(Payment.id).where(Payment.subscription_id == subscription.id, Payment.is_open).limit(1)):
        raise Conflict("PREVIOUS_PAYMENT_PENDING", N_("A payment for this subscription is in progress. Wait until it finishes."))
    _check_charge_limit(db, subscription, at)
    if subscription.is_trial:
        subscription.trial_ends_at = at
    subscription.next_billing_at, subscription.anchor_at, subscription.anchor_n = at, at, subscription.period_n
    planned = scheduled_change(db, subscription)
    if planned is not None:
        planned.effective_at = at
    emit_subscription_event(db, subscription, "subscription.next_billing_date_changed", was=was.isoformat())
    return subscription


def extend_term(db: ScopedSession, subscription_id: str, count: int | None = None, interval: str | None = None) -> Subscription:
    """Extend the maximum term, counted from the start of the subscription. A parameter that is None stays. Never shortens it.

    Raises NotFound, Invalid (shorter), Conflict SUBSCRIPTION_INACTIVE, UNSUPPORTED_ACTION.
    """
    subscription = load_subscription(db, subscription_id)
    _check_billed_here(subscription)
    if subscription.status not in LIVE or subscription.expires_at is None:
        raise Conflict("SUBSCRIPTION_INACTIVE", f"This is {subscription.status.replace('_', ' ')}; its term cannot be extended.")
    field = "subscription_period_interval" if count is None else "subscription_period_count"
    count, interval = count or subscription.term_count, interval or subscription.term_interval
    began = nth(subscription.expires_at, subscription.zone, subscription.term_interval, subscription.term_count, -1)
    try:
        ends = add(began, subscription.zone, interval, count)
    except (ValueError, OverflowError):
        raise Invalid(fields={field: N_("This term is too long.")}) from None
    if (count, interval) == (subscription.term_count, subscription.term_interval):
        return subscription
    if ends < subscription.expires_at:
        problem = "The term can only be extended."
        raise Invalid(sentence=f"{field}: {problem}", fields={field: problem})
    subscription.term_count, subscription.term_interval, subscription.expires_at = count, interval, ends
    emit_subscription_event(db, subscription, "subscription.term_extended", expires_at=ends.isoformat())
    return subscription


def _check_charge_limit(db: ScopedSession, subscription: Subscription, at: datetime) -> None:
    """Raise Conflict if the charge `at` would be the third within one period's length."""
    since = nth(at, subscription.zone, subscription.interval, subscription.interval_count, -1)
    made = db.scalar(
        select(func.count()).select_from(Invoice).where(
            Invoice.business_id == subscription.business_id, Invoice.subscription_id == subscription.id,
            Invoice.kind.in_(("new", "renewal")), Invoice.status != "void", Invoice.due_minor + Invoice.credit_applied_minor > 0,
            Invoice.issued_at > since,
        )
    ) or 0  # fmt: skip
    if made >= CHARGES_PER_PERIOD:
        raise Conflict("BILLING_DATE_LIMIT_REACHED", N_("That would be a third charge within one billing period. Choose a later date."))


def _check_billed_here(subscription: Subscription) -> None:
    if subscription.collected_by != "us":
        raise Conflict("UNSUPPORTED_ACTION", N_("This subscription is billed by another system. Change it there."))
