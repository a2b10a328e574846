"""Queues the actions of subscriptions that another system collects, instead of carrying them out here."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import select

from billing.external.port import can
from billing.model.delegated_actions import DelegatedAction
from billing.model.subscriptions import Subscription
from core import clock
from core.db import ScopedSession
from core.errors import N_, Conflict
from core.ids import new_id
from core.outbox import emit

LEASE = timedelta(minutes=3)  # longer than a look-up, its retry after up to one minute, and the request after it


def collects_itself(subscription: Subscription, verb: str, refusal: str) -> bool:
    """Return whether another system collects the subscription. Raises Conflict if that system does not support `verb`."""
    if subscription.collected_by == "us":
        return False
    if not can(subscription.collected_by, verb):
        raise Conflict("UNSUPPORTED_ACTION", refusal)
    return True


def is_delegated(db: ScopedSession, subscription: Subscription, verb: str, refusal: str, **parameters: Any) -> bool:
    """Queue the action if another system collects the subscription. Return whether it did; the caller then changes nothing.

    The caller has locked the row. Idempotent while the same action is pending. Raises Conflict if the other system does not support the
    action, or if another action is pending.
    """
    if not collects_itself(subscription, verb, refusal):
        return False
    waiting = pending(db, subscription.business_id, subscription.id)
    if waiting is not None:
        if (waiting.verb, waiting.parameters) == (verb, parameters):
            return True
        raise Conflict("ACT_PENDING", N_("Another change is still being processed. Try again in a moment."))
    enqueue_action(db, subscription, verb, parameters)
    return True


def enqueue_action(
    db: ScopedSession, subscription: Subscription, verb: str, parameters: dict[str, Any], at_once: bool = False
) -> DelegatedAction:
    """Add the action and its work in the caller's transaction.

    `at_once`: the caller sends it; the worker only handles a missing answer.
    """
    action_id, actor = new_id("act"), db.scope.actor
    action = DelegatedAction(
        business_id=subscription.business_id,
        customer_id=subscription.customer_id,
        id=action_id,
        subscription_id=subscription.id,
        system=subscription.collected_by,
        verb=verb,
        parameters=parameters,
        status="pending",
        key=action_id,
        actor_type=actor.type,
        actor_id=actor.id,
        attempts=0,
        fence=0,
        check_at=clock.wall() + (LEASE if at_once else timedelta(0)),
        created_at=clock.now(),
    )
    db.add(action)
    db.flush()
    emit(
        db,
        "subscription.action_delegated",
        business_id=action.business_id,
        customer_id=action.customer_id,
        noun=subscription.id,
        data={"action_id": action.id, "verb": verb},
        silent=at_once,
    )
    return action


def pending(db: ScopedSession, business_id: str, subscription_id: str) -> DelegatedAction | None:
    return db.scalar(
        select(DelegatedAction).where(
            DelegatedAction.business_id == business_id,
            DelegatedAction.subscription_id == subscription_id,
            DelegatedAction.status == "pending",
        )
    )
