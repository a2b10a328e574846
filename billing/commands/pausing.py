"""Pausing freezes the billing clock; resuming moves every later date by the length of the pause (contract §5.4)."""

from __future__ import annotations

from sqlalchemy import select

from billing import activation, lifecycle, policy
from billing.commands.cancelling import load
from billing.commands.forwarding import forwards
from billing.parties import Business
from billing.payments import Payment, PaymentMethod
from billing.plan_switch import note
from billing.subscriptions import Subscription
from core import clock
from core.db import ScopedSession
from core.errors import Conflict, Forbidden

ELSEWHERE = "This subscription is billed by another system. Change it there."


def pause(db: ScopedSession, subscription_id: str) -> Subscription:
    """Now, for as long as wanted: nothing is charged, keys are disabled.

    Raises NotFound, Forbidden SUBSCRIPTION_CUSTOMER_PAUSE_DISABLED, Conflict SUBSCRIPTION_ALREADY_PAUSED,
    SUBSCRIPTION_NOT_ELIGIBLE_FOR_PAUSE, SUBSCRIPTION_PAUSE_REQUIRES_PAYMENT_METHOD, PREVIOUS_PAYMENT_PENDING.
    """
    subscription = load(db, subscription_id)
    business_id = subscription.business_id
    business = db.scalar(select(Business).where(Business.business_id == business_id))
    if db.scope.is_customer and (business is None or not policy.allows(business, "pause")):
        raise Forbidden("SUBSCRIPTION_CUSTOMER_PAUSE_DISABLED", "This business asks you to contact it to pause.")
    if subscription.status == "paused":
        raise Conflict("SUBSCRIPTION_ALREADY_PAUSED", "This is paused already.")
    if subscription.cancel_at_period_end:
        raise Conflict("SUBSCRIPTION_NOT_ELIGIBLE_FOR_PAUSE", "This is about to end. Keep it first, then pause it.")
    to = lifecycle.move(lifecycle.SUBSCRIPTION, subscription.status, "pause")
    if forwards(db, subscription, "pause", ELSEWHERE):
        return subscription
    if db.scalar(
        select(Payment.id).where(Payment.business_id == business_id, Payment.subscription_id == subscription.id, Payment.is_open).limit(1)
    ):
        raise Conflict("PREVIOUS_PAYMENT_PENDING", "A payment for this is under way. Wait until it is settled.")
    if subscription.next_billing_at is None or subscription.next_billing_at <= clock.now():
        raise Conflict("SUBSCRIPTION_NOT_ELIGIBLE_FOR_PAUSE", "This is being renewed right now. Try again in a moment.")
    if (
        subscription.payment_method_id is None
        or db.scalar(
            select(PaymentMethod.id).where(
                PaymentMethod.business_id == business_id,
                PaymentMethod.id == subscription.payment_method_id,
                PaymentMethod.removed_at.is_(None),
            )
        )
        is None
    ):
        raise Conflict("SUBSCRIPTION_PAUSE_REQUIRES_PAYMENT_METHOD", "Save a payment method first; it is needed to go on later.")
    subscription.status, subscription.paused_at = to, clock.now()
    activation.follow_keys(db, subscription)
    note(db, subscription, "subscription.paused")
    return subscription


def resume(db: ScopedSession, subscription_id: str) -> Subscription:
    """Go on: what was left of the period is left still. A customer may always take back a pause.

    Raises NotFound, Conflict SUBSCRIPTION_NOT_PAUSED.
    """
    subscription = load(db, subscription_id)
    to = lifecycle.move(lifecycle.SUBSCRIPTION, subscription.status, "resume")
    if forwards(db, subscription, "resume", ELSEWHERE):
        return subscription
    assert subscription.paused_at is not None and subscription.next_billing_at is not None
    length = clock.now() - subscription.paused_at
    if subscription.period_n == 0 and subscription.trial_ends_at is not None:
        subscription.trial_ends_at += length
    if subscription.expires_at is not None:
        subscription.expires_at += length
    # later dates count from the shifted one, whatever the lengths of the months between
    subscription.next_billing_at += length
    subscription.anchor_at, subscription.anchor_n = subscription.next_billing_at, subscription.period_n
    subscription.status, subscription.paused_at = to, None
    activation.follow_keys(db, subscription)
    note(db, subscription, "subscription.unpaused", paused_seconds=int(length.total_seconds()))
    return subscription
