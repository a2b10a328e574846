"""Close a business and reopen it. A closed business sells nothing; its customers keep what they have."""

from __future__ import annotations

from sqlalchemy import select

from billing.charging.activation import next_date
from billing.model.events import emit_subscription_event
from billing.model.parties import Business
from billing.model.quotes import scheduled_change
from billing.model.subscriptions import Subscription
from core import clock
from core.db import ScopedSession
from core.errors import N_, NotFound
from core.outbox import emit


def archive_business(db: ScopedSession, business_id: str) -> Business:
    """Close the business. Idempotent. Raises NotFound."""
    business = db.scalar(select(Business).where(Business.business_id == business_id))
    if business is None:
        raise NotFound(sentence=N_("There is no such business."))
    if business.archived_at is None:
        business.archived_at = clock.now()
        emit(db, "business.archived", business_id=business_id, noun=business_id)
    return business


def reopen_business(db: ScopedSession, business_id: str) -> Business:
    """Reopen a closed business. Idempotent. `db` is a writing `system(business_id)` session. Raises NotFound.

    Nobody is charged for the time it was closed. A renewal whose date has passed moves to the next future date of its
    calendar, and the customer is emailed that date.
    """
    business = db.scalar(select(Business).where(Business.business_id == business_id))
    if business is None:
        raise NotFound(sentence=N_("There is no such business."))
    if business.archived_at is None:
        return business
    business.archived_at = None
    emit(db, "business.reopened", business_id=business_id, noun=business_id)
    missed = select(Subscription).where(
        Subscription.business_id == business_id,
        Subscription.status == "active",
        Subscription.collected_by == "us",
        Subscription.cancel_at_period_end.is_(False),
        Subscription.next_billing_at <= clock.now(),
        Subscription.anchor_at.is_not(None),
    )
    for subscription in db.scalars(missed.order_by(Subscription.id).with_for_update()):
        _skip_missed(db, subscription)
    return business


def _skip_missed(db: ScopedSession, subscription: Subscription) -> None:
    was, ends = subscription.next_billing_at, subscription.expires_at
    assert was is not None
    at = was
    while at <= clock.now() and (ends is None or at < ends):
        subscription.period_n += 1
        at = next_date(subscription)
    subscription.next_billing_at = at
    if at == was or (ends is not None and at >= ends):
        return  # the term is over: the subscription ends at this date without a charge
    planned = scheduled_change(db, subscription)
    if planned is not None:
        planned.effective_at = at
    emit_subscription_event(db, subscription, "subscription.next_billing_date_changed", was=was.isoformat())
