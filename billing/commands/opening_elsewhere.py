"""The page of another billing system on which its customer gives a new card: asked for while the customer waits."""

from __future__ import annotations

from sqlalchemy import select

from billing import lifecycle
from billing.commands.cancelling import load
from billing.commands.forwarding import collects_itself, pending, write
from billing.forwarded import ForwardedAct
from billing.forwarding import Forwarder
from billing.lifecycle import FORWARDED, SUBSCRIPTION
from billing.subscriptions import Subscription
from core.errors import Conflict, NotFound, Unavailable
from core.scope import Scope, system

REFUSAL = "This is paid through another system; the way to pay is changed there."
AWAY = "The business's billing system cannot be reached now. Nothing was changed; please try again."


def open_method_page(forwarder: Forwarder, scope: Scope, subscription_id: str, return_url: str) -> str | None:
    """Where to go; None where there is nothing to enter. Three steps, opens its own sessions.

    Raises NotFound, Conflict (its state; that system cannot be asked, or refuses, in its words), Unavailable (no answer).
    """
    with forwarder.database.open(scope) as db:
        business_id = db.scalar(select(Subscription.business_id).where(Subscription.id == subscription_id))
    if business_id is None:
        raise NotFound(sentence="There is no such subscription.")
    with forwarder.database.open(system(business_id, scope.actor), write=True) as db:
        subscription = load(db, subscription_id)
        lifecycle.move(SUBSCRIPTION, subscription.status, "change_method")
        if not collects_itself(subscription, "change_method", REFUSAL):
            raise Conflict("UNSUPPORTED_ACTION", "This is paid here.")
        if pending(db, business_id, subscription_id) is not None:
            raise Conflict("ACT_PENDING", "We asked for something already and wait for the answer. Try again in a moment.")
        act_id = write(db, subscription, "change_method", {"return_url": return_url}, at_once=True).id
    status = forwarder.run(business_id, act_id)
    with forwarder.database.open(system(business_id), write=True) as db:
        act = db.scalar(select(ForwardedAct).where(ForwardedAct.id == act_id))
        assert act is not None
        if status == "pending":  # nobody waits for a page that nobody sees
            act.status, act.error, act.check_at = lifecycle.move(FORWARDED, act.status, "refuse"), AWAY, None
        error, link = act.error, act.link
    if status == "pending":
        raise Unavailable("ELSEWHERE_UNREACHABLE", AWAY)
    if status == "refused":
        raise Conflict("REFUSED_ELSEWHERE", error or AWAY)
    return link
