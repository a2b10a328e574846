"""Decide who bills a subscription that is charged by nobody (`billing.external.port.UNDECIDED`).

An earlier version imported such subscriptions from another billing system and also charged them here.
"""

from __future__ import annotations

from sqlalchemy import select

from billing.charging.payment_processor import PaymentProcessor
from billing.external.port import UNDECIDED
from billing.model import lifecycle
from billing.model.payment_accounts import is_chargeable
from billing.model.payments import PaymentMethod
from billing.model.subscriptions import Subscription, load_subscription
from core import clock
from core.db import ScopedSession
from core.errors import N_, Conflict
from core.outbox import emit


def collect_here(processor: PaymentProcessor, db: ScopedSession, subscription_id: str) -> Subscription:
    """Charge the subscription here from its next billing date on.

    Raises NotFound, Conflict (already decided; no processor; no payment method here; billing date passed).
    """
    subscription = _load_undecided(db, subscription_id)
    processor.accounts.for_new(db, subscription.business_id)
    method = db.scalar(select(PaymentMethod).where(PaymentMethod.id == subscription.payment_method_id, is_chargeable()))
    if method is None:
        raise Conflict("UNSUPPORTED_ACTION", N_("No payment method can be charged here. Close this copy instead."))
    if subscription.next_billing_at is None or subscription.next_billing_at <= clock.now():
        raise Conflict(
            "UNSUPPORTED_ACTION", N_("The next billing date has passed. Close this copy and ask the customer to subscribe again.")
        )
    subscription.collected_by = "us"
    _note(db, subscription, "here")
    return subscription


def close_copy(db: ScopedSession, subscription_id: str) -> Subscription:
    """End the copy here; the other system continues to bill. No email is sent, because nothing changes for the customer.

    Raises NotFound, Conflict (already decided).
    """
    subscription = _load_undecided(db, subscription_id)
    if subscription.status in lifecycle.LIVE:
        subscription.status = lifecycle.move(lifecycle.SUBSCRIPTION, subscription.status, "cancel")
        subscription.cancelled_at = clock.now()
        subscription.cancelled_by = {"type": "merchant_user"}
        emit(
            db,
            "subscription.cancelled",
            business_id=subscription.business_id,
            customer_id=subscription.customer_id,
            noun=subscription.id,
            data={"ends_at": None},
            silent=True,
        )
    _note(db, subscription, "closed")
    return subscription


def _load_undecided(db: ScopedSession, subscription_id: str) -> Subscription:
    subscription = load_subscription(db, subscription_id)
    if subscription.collected_by != UNDECIDED or subscription.status not in lifecycle.LIVE:
        raise Conflict("UNSUPPORTED_ACTION", N_("This has already been decided."))
    return subscription


def _note(db: ScopedSession, subscription: Subscription, decision: str) -> None:
    emit(
        db,
        "subscription.collection_decided",
        business_id=subscription.business_id,
        customer_id=subscription.customer_id,
        noun=subscription.id,
        data={"decision": decision},
        silent=True,
    )
