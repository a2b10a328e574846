"""Pause and resume subscriptions. Resuming moves all later dates by the length of the pause (contract §5.4)."""

from __future__ import annotations

from sqlalchemy import select

from billing.charging import activation
from billing.external.enqueue import is_delegated
from billing.model import lifecycle, policy
from billing.model.events import emit_subscription_event
from billing.model.parties import Business
from billing.model.payment_accounts import is_chargeable
from billing.model.payments import Payment, PaymentMethod
from billing.model.subscriptions import Subscription, load_subscription
from billing.receipts.write import write_receipt
from core import clock
from core.db import ScopedSession
from core.errors import N_, Conflict, Forbidden

EXTERNAL = N_("This subscription is billed by another system. Change it there.")


def pause(db: ScopedSession, subscription_id: str) -> Subscription:
    """Pause now, without a time limit: nothing is charged and license keys are disabled.

    Raises NotFound, Forbidden SUBSCRIPTION_CUSTOMER_PAUSE_DISABLED, Conflict SUBSCRIPTION_ALREADY_PAUSED,
    SUBSCRIPTION_NOT_ELIGIBLE_FOR_PAUSE, SUBSCRIPTION_PAUSE_REQUIRES_PAYMENT_METHOD, PREVIOUS_PAYMENT_PENDING.
    """
    subscription = load_subscription(db, subscription_id)
    business_id = subscription.business_id
    business = db.scalar(select(Business).where(Business.business_id == business_id))
    if db.scope.is_customer and (business is None or not policy.allows(business, "pause")):
        raise Forbidden("SUBSCRIPTION_CUSTOMER_PAUSE_DISABLED", N_("To pause, contact this business."))
    if subscription.status == "paused":
        raise Conflict("SUBSCRIPTION_ALREADY_PAUSED", N_("This subscription is already paused."))
    if subscription.cancel_at_period_end:
        raise Conflict("SUBSCRIPTION_NOT_ELIGIBLE_FOR_PAUSE", N_("This subscription is scheduled to end. Keep it first, then pause it."))
    to = lifecycle.move(lifecycle.SUBSCRIPTION, subscription.status, "pause")
    if is_delegated(db, subscription, "pause", EXTERNAL):
        return subscription
    if db.scalar(
        select(Payment.id).where(Payment.business_id == business_id, Payment.subscription_id == subscription.id, Payment.is_open).limit(1)
    ):
        raise Conflict("PREVIOUS_PAYMENT_PENDING", N_("A payment for this subscription is in progress. Wait until it finishes."))
    if subscription.next_billing_at is None or subscription.next_billing_at <= clock.now():
        raise Conflict("SUBSCRIPTION_NOT_ELIGIBLE_FOR_PAUSE", N_("This subscription is being renewed right now. Try again in a moment."))
    if (
        subscription.payment_method_id is None
        or db.scalar(
            select(PaymentMethod.id).where(
                PaymentMethod.business_id == business_id, PaymentMethod.id == subscription.payment_method_id, is_chargeable()
            )
        )
        is None
    ):
        raise Conflict("SUBSCRIPTION_PAUSE_REQUIRES_PAYMENT_METHOD", N_("Save a payment method first. You need one to resume later."))
    subscription.status, subscription.paused_at = to, clock.now()
    activation.update_keys(db, subscription)
    emit_subscription_event(db, subscription, "subscription.paused", **write_receipt(db, subscription, "pause"))
    return subscription


def resume(db: ScopedSession, subscription_id: str) -> Subscription:
    """Resume with the rest of the period that was left. Customers may always resume.

    Raises NotFound, Conflict SUBSCRIPTION_NOT_PAUSED.
    """
    subscription = load_subscription(db, subscription_id)
    to = lifecycle.move(lifecycle.SUBSCRIPTION, subscription.status, "resume")
    if is_delegated(db, subscription, "resume", EXTERNAL):
        return subscription
    assert subscription.paused_at is not None and subscription.next_billing_at is not None
    length = clock.now() - subscription.paused_at
    if subscription.period_n == 0 and subscription.trial_ends_at is not None:
        subscription.trial_ends_at += length
    if subscription.expires_at is not None:
        subscription.expires_at += length
    # later dates are counted from the shifted date, independent of the lengths of the months
    subscription.next_billing_at += length
    subscription.anchor_at, subscription.anchor_n = subscription.next_billing_at, subscription.period_n
    subscription.status, subscription.paused_at = to, None
    activation.update_keys(db, subscription)
    receipt = write_receipt(db, subscription, "resume")
    emit_subscription_event(db, subscription, "subscription.unpaused", paused_seconds=int(length.total_seconds()), **receipt)
    return subscription
