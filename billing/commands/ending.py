"""Cancelling now: access ends, nothing more is charged. An open payment is stopped by its key; if it succeeds all the same,
the money goes back (settlement: what it was for is over)."""

from __future__ import annotations

from sqlalchemy import select

from billing import lifecycle, policy
from billing.commands.cancelling import COMMENT_LIMIT, ELSEWHERE, FEEDBACK, end, load
from billing.commands.forwarding import forwards
from billing.commands.plan_quote import waiting
from billing.parties import Business
from billing.payments import Payment
from billing.plan_switch import drop
from billing.subscriptions import Subscription
from billing.till import Till
from core.errors import Forbidden, Invalid, NotFound
from core.scope import Scope, system

_ACTORS = {"customer": "customer", "staff": "merchant_user", "api_key": "api_key"}


def cancel_now(till: Till, scope: Scope, subscription_id: str, feedback: str | None = None, comment: str | None = None) -> Subscription:
    """End it at once, from active, on_hold, past_due or paused. Asking twice is the same as asking once. Opens its own sessions.

    Raises NotFound, Forbidden CANCELLATION_DISABLED (customers), Conflict SUBSCRIPTION_INACTIVE, Invalid (feedback, comment).
    """
    comment = (comment or "").strip() or None
    if feedback and feedback not in FEEDBACK:
        raise Invalid(fields={"feedback": "Choose one of the reasons, or none."})
    if comment and len(comment) > COMMENT_LIMIT:
        raise Invalid(fields={"comment": "Please keep it under 500 characters."})
    with till.database.open(scope) as db:
        business_id = db.scalar(select(Subscription.business_id).where(Subscription.id == subscription_id))
    if business_id is None:
        raise NotFound(sentence="There is no such subscription.")
    with till.database.open(system(business_id, scope.actor), write=True) as db:
        # payments first, then the subscription: the order in which outcomes lock them
        open_ones = list(db.scalars(select(Payment).where(Payment.subscription_id == subscription_id, Payment.is_open).with_for_update()))
        subscription = load(db, subscription_id)
        business = db.scalar(select(Business))
        if scope.is_customer and (business is None or not policy.allows(business, "cancel")):
            raise Forbidden("CANCELLATION_DISABLED", "This business asks you to contact it to cancel.")
        if subscription.status == "cancelled":
            return subscription
        lifecycle.move(lifecycle.SUBSCRIPTION, subscription.status, "cancel")
        if forwards(db, subscription, "end", ELSEWHERE, feedback=feedback, comment=comment):
            return subscription
        end(db, subscription)
        subscription.cancel_at_period_end = False
        subscription.cancellation_feedback, subscription.cancellation_comment = feedback, comment
        subscription.cancelled_by = {"type": _ACTORS.get(scope.actor.type, "dodo_team")}
        planned = waiting(db, subscription)
        if planned is not None:
            drop(db, subscription, planned)
    for payment in open_ones:
        till.cancel(business_id, payment.id)
    return subscription
