"""Schedule a cancellation at the end of the period, undo it, and end a subscription. A reason is always optional."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from billing.external.enqueue import is_delegated
from billing.model import lifecycle, policy
from billing.model.customer_types import type_of_contract
from billing.model.events import emit_about
from billing.model.invoices import Invoice
from billing.model.licenses import LicenseKey
from billing.model.parties import Business
from billing.model.subscriptions import Subscription, load_subscription
from billing.receipts.write import write_receipt
from core import clock
from core.db import ScopedSession
from core.errors import N_, Conflict, Forbidden, Invalid

FEEDBACK = ("too_expensive", "missing_features", "switched_service", "unused", "customer_service", "low_quality", "too_complex", "other")
COMMENT_LIMIT = 500  # the error message contains this number
EXTERNAL = N_("This subscription is billed by another system. Cancel it there.")


def cancel_at_period_end(
    db: ScopedSession, subscription_id: str, feedback: str | None = None, comment: str | None = None, *, statement: str | None = None
) -> Subscription:
    """Schedule the end of the subscription for its next billing date. Idempotent.

    `statement`: the number of the statement that cancels, if somebody declared it without signing in. Its own receipt is sent.

    Raises Conflict (state), Forbidden (the business does not let business customers cancel), Invalid (feedback, comment).
    """
    subscription = load_subscription(db, subscription_id)
    if db.scope.is_customer:
        business = db.scalar(select(Business).where(Business.business_id == subscription.business_id))
        if business is None or not policy.allows_cancelling(business, subscription):
            raise Forbidden("CANCELLATION_DISABLED", N_("To cancel, contact this business."))
    if feedback and feedback not in FEEDBACK:
        raise Invalid(fields={"feedback": N_("Choose a reason from the list, or none.")})
    comment = (comment or "").strip() or None
    if comment and len(comment) > COMMENT_LIMIT:
        raise Invalid(fields={"comment": N_("Please keep it under 500 characters.")})
    lifecycle.move(
        lifecycle.SUBSCRIPTION, subscription.status, "schedule_cancel"
    )  # first, because an ended subscription may still have the flag
    if subscription.cancel_at_period_end:
        return subscription
    if is_delegated(db, subscription, "cancel", EXTERNAL, feedback=feedback, comment=comment):
        return subscription
    subscription.cancel_at_period_end = True
    subscription.cancellation_feedback, subscription.cancellation_comment = feedback, comment
    actor = db.scope.actor
    by = {"customer": "customer", "staff": "merchant_user", "api_key": "api_key"}.get(actor.type, "dodo_team")
    subscription.cancelled_by = {"type": by}
    proof: dict[str, Any] = {"statement": statement} if statement else write_receipt(db, subscription, "cancellation")
    emit_about(db, subscription, "subscription.cancellation_scheduled", feedback=feedback, ends_at=_ends_at(subscription), **proof)
    return subscription


def keep(db: ScopedSession, subscription_id: str) -> Subscription:
    """Undo a scheduled cancellation; allowed until it takes effect.

    Raises NotFound, Conflict CANCELLED_BY_CUSTOMER (a consumer cancelled, and staff or a program would undo it), SUBSCRIPTION_INACTIVE.
    """
    subscription = load_subscription(db, subscription_id)
    if not lifecycle.may(lifecycle.SUBSCRIPTION, subscription.status, "keep"):
        raise Conflict("SUBSCRIPTION_INACTIVE", N_("This subscription has ended. The cancellation can no longer be undone."))
    if not subscription.cancel_at_period_end:
        return subscription
    if is_delegated(db, subscription, "keep", EXTERNAL):
        return subscription
    if not db.scope.is_customer and is_consumers_own(subscription):
        raise Conflict("CANCELLED_BY_CUSTOMER", N_("The customer cancelled this subscription. Only the customer can undo it."))
    subscription.cancel_at_period_end = False
    subscription.cancellation_feedback = subscription.cancellation_comment = subscription.cancelled_by = None
    receipt = write_receipt(db, subscription, "cancellation_undone")
    emit_about(db, subscription, "subscription.cancellation_revoked", ends_at=_ends_at(subscription), **receipt)
    return subscription


def is_consumers_own(subscription: Subscription) -> bool:
    """Return whether a consumer declared the cancellation in the portal or in a statement. The business cannot undo it for them."""
    by = subscription.cancelled_by or {}
    return by.get("type") == "customer" and not by.get("reported_by") and type_of_contract(subscription) == "consumer"


def end(db: ScopedSession, subscription: Subscription, verb: str = "cancel", proof: Mapping[str, Any] | None = None) -> None:
    """End the subscription now. `verb`: `cancel` or `expire`. `proof`: the receipt of the action that ends it, for its event.

    Nothing is refunded. Open invoices become void; a payment for one that arrives later is refunded.
    """
    subscription.status = lifecycle.move(lifecycle.SUBSCRIPTION, subscription.status, verb)
    subscription.cancelled_at = clock.now() if verb == "cancel" else None
    subscription.next_billing_at = None if verb == "expire" else subscription.next_billing_at
    owed = select(Invoice).where(Invoice.subscription_id == subscription.id, Invoice.status == "open")
    for invoice in db.scalars(owed.with_for_update()):
        invoice.status = lifecycle.move(lifecycle.INVOICE, invoice.status, "void")
        subscription.credit_minor += invoice.credit_applied_minor  # the credit the void invoice had used
        emit_about(db, invoice, "invoice.void")
    keys = select(LicenseKey).where(LicenseKey.subscription_id == subscription.id, LicenseKey.status.in_(("active", "disabled")))
    for key in db.scalars(keys):
        key.status = "expired" if verb == "expire" else "disabled"
    emit_about(db, subscription, f"subscription.{subscription.status}", ends_at=_ends_at(subscription), **(proof or {}))


def _ends_at(subscription: Subscription) -> str | None:
    return subscription.next_billing_at.isoformat() if subscription.next_billing_at else None
