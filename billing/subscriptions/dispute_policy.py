"""Applies the setting `on_dispute` to the subscription of a disputed payment: nothing happens, it is paused, or it is ended."""

from __future__ import annotations

import structlog
from sqlalchemy import select

from billing.charging.payment_processor import PaymentProcessor
from billing.model import lifecycle, policy
from billing.model.disputes import Dispute, withholds
from billing.model.parties import Business
from billing.model.subscriptions import Subscription
from billing.subscriptions.end_now import cancel_now
from billing.subscriptions.pause import pause, resume
from core.db import ScopedSession
from core.errors import Conflict
from core.handlers import Handlers
from core.scope import system

log = structlog.get_logger()

_PASSING = ("PREVIOUS_PAYMENT_PENDING",)
"""Why a subscription cannot be paused now, but soon."""


def register(handlers: Handlers, processor: PaymentProcessor) -> None:
    handlers.on("dispute.opened", lambda work: apply_policy(processor, str(work.business_id), str(work.noun_id)), "dispute.policy")
    for type in ("dispute.won", "dispute.cancelled"):
        handlers.on(type, lambda work: undo_pause(processor, str(work.business_id), str(work.noun_id)), "dispute.policy")


def apply_policy(processor: PaymentProcessor, business_id: str, dispute_id: str) -> None:
    """Pause or end the subscription of a disputed payment. Idempotent: run by the worker, which repeats it after an error.

    An inquiry changes nothing, because no money was taken. A subscription that cannot be paused stays as it is.
    """
    with processor.database.open(system(business_id), write=True) as db:
        dispute = _lock(db, dispute_id)
        business = db.scalar(select(Business))
        if dispute is None or business is None or not dispute.holds_money or dispute.subscription_id is None:
            return
        subscription = db.scalar(select(Subscription).where(Subscription.id == dispute.subscription_id).with_for_update())
        chosen = policy.setting(business, "on_dispute")
        if subscription is None or chosen == "keep":
            return
        if chosen == "hold":
            _pause(db, dispute, subscription)
            return
        may_end = lifecycle.may(lifecycle.SUBSCRIPTION, subscription.status, "cancel")
        subscription_id = subscription.id
    if may_end:
        cancel_now(processor, system(business_id), subscription_id)


def undo_pause(processor: PaymentProcessor, business_id: str, dispute_id: str) -> None:
    """Resume a subscription that was paused for a dispute that the business won, unless another dispute withholds money of it."""
    with processor.database.open(system(business_id), write=True) as db:
        dispute = _lock(db, dispute_id)
        if dispute is None or not dispute.has_paused or dispute.status not in lifecycle.DISPUTE_RETURNED:
            return
        dispute.has_paused = False
        others = select(Dispute).where(Dispute.subscription_id == dispute.subscription_id, Dispute.id != dispute.id, withholds())
        other = db.scalar(others.order_by(Dispute.created_at).limit(1).with_for_update())
        if other is not None:
            other.has_paused = True
            return
        status = db.scalar(select(Subscription.status).where(Subscription.id == dispute.subscription_id))
        if dispute.subscription_id and status == "paused":
            resume(db, dispute.subscription_id)


def _pause(db: ScopedSession, dispute: Dispute, subscription: Subscription) -> None:
    if not lifecycle.may(lifecycle.SUBSCRIPTION, subscription.status, "pause"):
        return
    try:
        pause(db, subscription.id)
    except Conflict as refused:
        if refused.code in _PASSING:
            raise
        log.info("disputed subscription not paused", subscription=subscription.id, code=refused.code)
        return
    dispute.has_paused = True


def _lock(db: ScopedSession, dispute_id: str) -> Dispute | None:
    return db.scalar(select(Dispute).where(Dispute.id == dispute_id).with_for_update())
