"""The one place where a command asks who collects: what another system collects is written down for it, not done here."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import select

from billing.elsewhere import can
from billing.forwarded import ForwardedAct
from billing.subscriptions import Subscription
from core import clock
from core.db import ScopedSession
from core.errors import Conflict
from core.ids import new_id
from core.outbox import emit

LEASE = timedelta(minutes=3)  # longer than a look, its one retry with the minute it may be asked to wait, and the send after it


def collects_itself(subscription: Subscription, verb: str, refusal: str) -> bool:
    """False where we collect. True where another system does and can be asked for `verb`; Conflict where it cannot."""
    if subscription.collected_by == "us":
        return False
    if not can(subscription.collected_by, verb):
        raise Conflict("UNSUPPORTED_ACTION", refusal)
    return True


def forwards(db: ScopedSession, subscription: Subscription, verb: str, refusal: str, **wish: Any) -> bool:
    """Whether the act was handed on: then it is pending, and the caller changes nothing. The row is locked by the caller.

    Asking for the same again while it is pending is the same as asking once. Raises Conflict (it cannot be asked for there;
    something else is still unanswered).
    """
    if not collects_itself(subscription, verb, refusal):
        return False
    waiting = pending(db, subscription.business_id, subscription.id)
    if waiting is not None:
        if (waiting.verb, waiting.wish) == (verb, wish):
            return True
        raise Conflict("ACT_PENDING", "We asked for something already and wait for the answer. Try again in a moment.")
    write(db, subscription, verb, wish)
    return True


def write(db: ScopedSession, subscription: Subscription, verb: str, wish: dict[str, Any], at_once: bool = False) -> ForwardedAct:
    """The act's row and its work, in the caller's transaction. `at_once`: the caller sends it; the worker only looks after it."""
    one, who = new_id("act"), db.scope.actor
    act = ForwardedAct(
        business_id=subscription.business_id, customer_id=subscription.customer_id, id=one, subscription_id=subscription.id,
        system=subscription.collected_by, verb=verb, wish=wish, status="pending", key=one, actor_type=who.type, actor_id=who.id,
        attempts=0, fence=0, check_at=clock.wall() + (LEASE if at_once else timedelta(0)), created_at=clock.now(),
    )
    db.add(act)
    db.flush()
    emit(db, "subscription.asked_elsewhere", business_id=act.business_id, customer_id=act.customer_id, noun=subscription.id,
         data={"act_id": act.id, "verb": verb}, silent=at_once)
    return act


def pending(db: ScopedSession, business_id: str, subscription_id: str) -> ForwardedAct | None:
    return db.scalar(select(ForwardedAct).where(ForwardedAct.business_id == business_id, ForwardedAct.subscription_id == subscription_id,
                                                ForwardedAct.status == "pending"))
