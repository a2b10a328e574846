"""Cancelling at the period's end, and taking it back. Never needs a fresh proof, never forces a reason."""

from __future__ import annotations

from sqlalchemy import select

from billing import lifecycle, policy
from billing.commands.forwarding import forwards
from billing.invoices import Invoice
from billing.licences import LicenseKey
from billing.parties import Business
from billing.subscriptions import Subscription
from core import clock
from core.db import ScopedSession
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.outbox import emit

FEEDBACK = ("too_expensive", "missing_features", "switched_service", "unused", "customer_service", "low_quality", "too_complex", "other")
COMMENT_LIMIT = 500  # the refusal says the figure too
ELSEWHERE = "This subscription is billed by another system. Cancel it there."


def load(db: ScopedSession, subscription_id: str) -> Subscription:
    """One subscription of the scope, its row locked. Raises NotFound."""
    found = db.scalar(select(Subscription).where(Subscription.id == subscription_id).with_for_update())
    if found is None:
        raise NotFound(sentence="There is no such subscription.")
    return found


def cancel_at_period_end(
    db: ScopedSession, subscription_id: str, feedback: str | None = None, comment: str | None = None
) -> Subscription:
    """It goes on to its next billing date and then ends. Asking twice is the same as asking once.

    Raises Conflict (state), Forbidden (the business does not let customers cancel), Invalid (feedback, comment).
    """
    subscription = load(db, subscription_id)
    if db.scope.is_customer:
        business = db.scalar(select(Business).where(Business.business_id == subscription.business_id))
        if business is None or not policy.allows(business, "cancel"):
            raise Forbidden("CANCELLATION_DISABLED", "This business asks you to contact it to cancel.")
    if feedback and feedback not in FEEDBACK:
        raise Invalid(fields={"feedback": "Choose one of the reasons, or none."})
    comment = (comment or "").strip() or None
    if comment and len(comment) > COMMENT_LIMIT:
        raise Invalid(fields={"comment": "Please keep it under 500 characters."})
    lifecycle.move(lifecycle.SUBSCRIPTION, subscription.status, "schedule_cancel")  # first: what has ended keeps its mark for ever
    if subscription.cancel_at_period_end:
        return subscription
    if forwards(db, subscription, "cancel", ELSEWHERE, feedback=feedback, comment=comment):
        return subscription
    subscription.cancel_at_period_end = True
    subscription.cancellation_feedback, subscription.cancellation_comment = feedback, comment
    actor = db.scope.actor
    by = {"customer": "customer", "staff": "merchant_user", "api_key": "api_key"}.get(actor.type, "dodo_team")
    subscription.cancelled_by = {"type": by}
    _note(db, subscription, "subscription.cancellation_scheduled", feedback=feedback)
    return subscription


def keep(db: ScopedSession, subscription_id: str) -> Subscription:
    """Take a scheduled cancellation back; always allowed until it takes effect."""
    subscription = load(db, subscription_id)
    if not lifecycle.may(lifecycle.SUBSCRIPTION, subscription.status, "keep"):
        raise Conflict("SUBSCRIPTION_INACTIVE", "This has ended; it cannot be taken back any more.")
    if not subscription.cancel_at_period_end:
        return subscription
    if forwards(db, subscription, "keep", ELSEWHERE):
        return subscription
    subscription.cancel_at_period_end = False
    subscription.cancellation_feedback = subscription.cancellation_comment = subscription.cancelled_by = None
    _note(db, subscription, "subscription.cancellation_revoked")
    return subscription


def end(db: ScopedSession, subscription: Subscription, verb: str = "cancel") -> None:
    """Now: `cancel` or `expire`. What was paid stays paid; refunds are their own act. Nothing is owed any more:
    open invoices become void, and money that is still on its way for one goes back when it arrives."""
    subscription.status = lifecycle.move(lifecycle.SUBSCRIPTION, subscription.status, verb)
    subscription.cancelled_at = clock.now() if verb == "cancel" else None
    subscription.next_billing_at = None if verb == "expire" else subscription.next_billing_at
    owed = select(Invoice).where(Invoice.subscription_id == subscription.id, Invoice.status == "open")
    for invoice in db.scalars(owed.with_for_update()):
        invoice.status = lifecycle.move(lifecycle.INVOICE, invoice.status, "void")
        subscription.credit_minor += invoice.credit_applied_minor  # it paid for nothing
        emit(db, "invoice.void", business_id=invoice.business_id, customer_id=invoice.customer_id, noun=invoice.id)
    keys = select(LicenseKey).where(LicenseKey.subscription_id == subscription.id, LicenseKey.status.in_(("active", "disabled")))
    for key in db.scalars(keys):
        key.status = "expired" if verb == "expire" else "disabled"
    _note(db, subscription, f"subscription.{subscription.status}")


def _note(db: ScopedSession, subscription: Subscription, type: str, **data: object) -> None:
    ends = subscription.next_billing_at
    emit(db, type, business_id=subscription.business_id, customer_id=subscription.customer_id, noun=subscription.id,
         data={**data, "ends_at": ends.isoformat() if ends else None})
