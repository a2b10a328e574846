"""A business moves the next charge of a subscription, or makes its term longer. Never more than two charges in one period's length."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, select

from billing.calendar import add, nth
from billing.commands.cancelling import load
from billing.commands.plan_quote import waiting
from billing.invoices import Invoice
from billing.lifecycle import LIVE
from billing.payments import Payment
from billing.plan_switch import note
from billing.subscriptions import Subscription
from core import clock
from core.db import ScopedSession
from core.errors import Conflict, Invalid

CHARGES_PER_PERIOD = 2
FARTHEST = timedelta(days=3660)


def move_next_date(db: ScopedSession, subscription_id: str, at: datetime) -> Subscription:
    """The next charge is made `at`; later dates count from there. The customer gets a letter about it (safety 4.9).

    Raises NotFound, Invalid (past, or after the term; field next_billing_date), Conflict SUBSCRIPTION_INACTIVE,
    UNSUPPORTED_ACTION, CHARGE_NOT_ALLOWED_FOR_SCHEDULED_CANCELLATION, PREVIOUS_PAYMENT_PENDING, BILLING_DATE_LIMIT_REACHED.
    """
    subscription = load(db, subscription_id)
    was, now = subscription.next_billing_at, clock.now()
    _collected_here(subscription)
    if subscription.status != "active" or was is None:
        raise Conflict("SUBSCRIPTION_INACTIVE", f"This is {subscription.status.replace('_', ' ')}; there is no date to move.")
    if not now < at <= now + FARTHEST:
        words = "This has to be in the future."
        raise Invalid(sentence=f"next_billing_date: {words}", fields={"next_billing_date": words})
    if subscription.expires_at is not None and at > subscription.expires_at:
        words = "This is after the end of the subscription's term."
        raise Invalid(sentence=f"next_billing_date: {words}", fields={"next_billing_date": words})
    if subscription.cancel_at_period_end:
        words = "This is about to end and is not charged again. Keep it first, then move the date."
        raise Conflict("CHARGE_NOT_ALLOWED_FOR_SCHEDULED_CANCELLATION", words)
    if at == was:
        return subscription
    if was <= now or db.scalar(select(Payment.id).where(Payment.subscription_id == subscription.id, Payment.is_open).limit(1)):
        raise Conflict("PREVIOUS_PAYMENT_PENDING", "A payment for this is under way. Wait until it is settled.")
    _few(db, subscription, at)
    if subscription.is_trial:
        subscription.trial_ends_at = at
    subscription.next_billing_at, subscription.anchor_at, subscription.anchor_n = at, at, subscription.period_n
    planned = waiting(db, subscription)
    if planned is not None:
        planned.effective_at = at
    note(db, subscription, "subscription.next_billing_date_changed", was=was.isoformat())
    return subscription


def extend_term(db: ScopedSession, subscription_id: str, count: int | None = None, interval: str | None = None) -> Subscription:
    """How long the subscription runs at most, counted from its beginning; what is not given stays. It never becomes shorter.

    Raises NotFound, Invalid (shorter), Conflict SUBSCRIPTION_INACTIVE, UNSUPPORTED_ACTION.
    """
    subscription = load(db, subscription_id)
    _collected_here(subscription)
    if subscription.status not in LIVE or subscription.expires_at is None:
        raise Conflict("SUBSCRIPTION_INACTIVE", f"This is {subscription.status.replace('_', ' ')}; it cannot be made longer.")
    field = "subscription_period_interval" if count is None else "subscription_period_count"
    count, interval = count or subscription.term_count, interval or subscription.term_interval
    began = nth(subscription.expires_at, subscription.zone, subscription.term_interval, subscription.term_count, -1)
    try:
        ends = add(began, subscription.zone, interval, count)
    except (ValueError, OverflowError):
        raise Invalid(fields={field: "This is too long."}) from None
    if (count, interval) == (subscription.term_count, subscription.term_interval):
        return subscription
    if ends < subscription.expires_at:
        words = "It can only become longer."
        raise Invalid(sentence=f"{field}: {words}", fields={field: words})
    subscription.term_count, subscription.term_interval, subscription.expires_at = count, interval, ends
    note(db, subscription, "subscription.term_extended", expires_at=ends.isoformat())
    return subscription


def _few(db: ScopedSession, subscription: Subscription, at: datetime) -> None:
    """With the charge `at`, at most two fall into the length of any one period without the customer's consent."""
    since = nth(at, subscription.zone, subscription.interval, subscription.interval_count, -1)
    made = db.scalar(
        select(func.count()).select_from(Invoice).where(
            Invoice.business_id == subscription.business_id, Invoice.subscription_id == subscription.id,
            Invoice.kind.in_(("new", "renewal")), Invoice.status != "void", Invoice.due_minor + Invoice.credit_applied_minor > 0,
            Invoice.issued_at > since,
        )
    ) or 0  # fmt: skip
    if made >= CHARGES_PER_PERIOD:
        raise Conflict("BILLING_DATE_LIMIT_REACHED", "That would be a third charge within one billing period. Choose a later date.")


def _collected_here(subscription: Subscription) -> None:
    if subscription.collected_by != "us":
        raise Conflict("UNSUPPORTED_ACTION", "This subscription is billed by another system. Change it there.")
