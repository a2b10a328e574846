"""Open the external billing system's page for a new payment method, while the customer waits."""

from __future__ import annotations

from sqlalchemy import select

from billing.external.dispatch import ActionDispatcher
from billing.external.enqueue import collects_itself, enqueue_action, pending
from billing.model import lifecycle
from billing.model.delegated_actions import DelegatedAction
from billing.model.lifecycle import DELEGATED_ACTION, SUBSCRIPTION
from billing.model.subscriptions import business_of, load_subscription
from core.errors import N_, Conflict, Unavailable
from core.scope import Scope, system

REFUSAL = N_("This subscription is billed by another system. Change its payment method there.")
AWAY = N_("The business's billing system can't be reached right now. Nothing was changed. Please try again.")


def open_method_page(forwarder: ActionDispatcher, scope: Scope, subscription_id: str, return_url: str) -> str | None:
    """Return the page's URL, or None when nothing has to be entered. Opens its own sessions.

    Raises NotFound, Conflict (wrong state, not possible, or refused with the other system's message), Unavailable (no answer).
    """
    business_id = business_of(forwarder.database, scope, subscription_id)
    with forwarder.database.open(system(business_id, scope.actor), write=True) as db:
        subscription = load_subscription(db, subscription_id)
        lifecycle.move(SUBSCRIPTION, subscription.status, "change_method")
        if not collects_itself(subscription, "change_method", REFUSAL):
            raise Conflict("UNSUPPORTED_ACTION", N_("This subscription is billed here."))
        if pending(db, business_id, subscription_id) is not None:
            raise Conflict("ACT_PENDING", N_("Another change is still being processed. Try again in a moment."))
        action_id = enqueue_action(db, subscription, "change_method", {"return_url": return_url}, at_once=True).id
    status = forwarder.run(business_id, action_id)
    with forwarder.database.open(system(business_id), write=True) as db:
        action = db.scalar(select(DelegatedAction).where(DelegatedAction.id == action_id))
        assert action is not None
        if status == "pending":  # the customer has left by the time the page would come
            action.status, action.error, action.check_at = lifecycle.move(DELEGATED_ACTION, action.status, "refuse"), AWAY, None
        error, link = action.error, action.link
    if status == "pending":
        raise Unavailable("ELSEWHERE_UNREACHABLE", AWAY)
    if status == "refused":
        raise Conflict("REFUSED_ELSEWHERE", error or AWAY)
    return link
