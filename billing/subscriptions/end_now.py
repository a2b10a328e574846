"""Cancel a subscription immediately.

An open payment is cancelled at the gateway. If it succeeds anyway, settlement refunds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from billing.charging.payment_processor import PaymentProcessor
from billing.charging.plan_change_effects import cancel_scheduled
from billing.external.enqueue import is_delegated
from billing.model import lifecycle, policy
from billing.model.parties import Business
from billing.model.payments import Payment
from billing.model.quotes import scheduled_change
from billing.model.subscriptions import Subscription, business_of, load_subscription
from billing.receipts.write import write_receipt
from billing.subscriptions.cancel import COMMENT_LIMIT, EXTERNAL, FEEDBACK, end
from core.db import ScopedSession
from core.errors import N_, Forbidden, Invalid
from core.scope import Scope, system

_ACTORS = {"customer": "customer", "staff": "merchant_user", "api_key": "api_key"}


def cancel_now(
    processor: PaymentProcessor,
    scope: Scope,
    subscription_id: str,
    feedback: str | None = None,
    comment: str | None = None,
    *,
    statement: str | None = None,
) -> Subscription:
    """End the subscription now, from active, on_hold, past_due or paused. Idempotent. Opens its own sessions.

    `statement`: the number of the statement that cancels, if somebody declared it without signing in. Its own receipt is sent.

    Raises NotFound, Forbidden CANCELLATION_DISABLED (business customers), Conflict SUBSCRIPTION_INACTIVE, Invalid (feedback, comment).
    """
    comment = (comment or "").strip() or None
    if feedback and feedback not in FEEDBACK:
        raise Invalid(fields={"feedback": N_("Choose a reason from the list, or none.")})
    if comment and len(comment) > COMMENT_LIMIT:
        raise Invalid(fields={"comment": N_("Please keep it under 500 characters.")})
    business_id = business_of(processor.database, scope, subscription_id)
    with processor.database.open(system(business_id, scope.actor), write=True) as db:
        # lock payments before the subscription, in the order that recording an outcome locks them
        open_payments = list(
            db.scalars(select(Payment).where(Payment.subscription_id == subscription_id, Payment.is_open).with_for_update())
        )
        subscription = load_subscription(db, subscription_id)
        business = db.scalar(select(Business))
        if scope.is_customer and (business is None or not policy.allows_cancelling(business, subscription)):
            raise Forbidden("CANCELLATION_DISABLED", N_("To cancel, contact this business."))
        if subscription.status == "cancelled":
            return subscription
        lifecycle.move(lifecycle.SUBSCRIPTION, subscription.status, "cancel")
        if is_delegated(db, subscription, "end", EXTERNAL, feedback=feedback, comment=comment):
            return subscription
        proof: dict[str, Any] = (
            {"statement": statement} if statement else write_receipt(db, subscription, "cancellation_now", actor=scope.actor)
        )
        end_at_once(db, subscription, feedback, comment, proof=proof)
    for payment in open_payments:
        processor.cancel(business_id, payment.id)
    return subscription


def end_at_once(
    db: ScopedSession,
    subscription: Subscription,
    feedback: str | None = None,
    comment: str | None = None,
    *,
    proof: Mapping[str, Any] | None = None,
) -> None:
    """End a locked subscription and its scheduled plan change, as the actor of the session. `proof`: the receipt of the action."""
    end(db, subscription, proof=proof)
    subscription.cancel_at_period_end = False
    subscription.cancellation_feedback, subscription.cancellation_comment = feedback, comment
    subscription.cancelled_by = {"type": _ACTORS.get(db.scope.actor.type, "dodo_team")}
    planned = scheduled_change(db, subscription)
    if planned is not None:
        cancel_scheduled(db, subscription, planned)
