"""Closing a business (nothing is sold any more; its customers keep what they have) and opening it again."""

from __future__ import annotations

from sqlalchemy import select

from billing.activation import next_date
from billing.commands.plan_quote import waiting
from billing.parties import Business
from billing.plan_switch import note
from billing.subscriptions import Subscription
from core import clock
from core.db import ScopedSession
from core.errors import NotFound
from core.outbox import emit


def archive_business(db: ScopedSession, business_id: str) -> Business:
    """Saying it twice changes nothing more. Raises NotFound."""
    business = db.scalar(select(Business).where(Business.business_id == business_id))
    if business is None:
        raise NotFound(sentence="There is no such business.")
    if business.archived_at is None:
        business.archived_at = clock.now()
        emit(db, "business.archived", business_id=business_id, noun=business_id)
    return business


def reopen_business(db: ScopedSession, business_id: str) -> Business:
    """Undo closing. Reopening an open business changes nothing. Raises NotFound.

    Nobody is charged for the time it was closed: a renewal whose date passed meanwhile is made at the next date of its
    calendar that is still to come, and the customer gets an email with that date. Write `system(business_id)` sessions only.
    """
    business = db.scalar(select(Business).where(Business.business_id == business_id))
    if business is None:
        raise NotFound(sentence="There is no such business.")
    if business.archived_at is None:
        return business
    business.archived_at = None
    emit(db, "business.reopened", business_id=business_id, noun=business_id)
    missed = select(Subscription).where(
        Subscription.business_id == business_id, Subscription.status == "active", Subscription.collected_by == "us",
        Subscription.cancel_at_period_end.is_(False), Subscription.next_billing_at <= clock.now(), Subscription.anchor_at.is_not(None),
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
        return  # its term is over: it ends at this date, and nothing is charged
    planned = waiting(db, subscription)
    if planned is not None:
        planned.effective_at = at
    note(db, subscription, "subscription.next_billing_date_changed", was=was.isoformat())
