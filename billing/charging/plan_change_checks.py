"""Checks whether a plan change that was paid may still be applied."""

from __future__ import annotations

from sqlalchemy import select

from billing.model import lifecycle
from billing.model.payments import Payment
from billing.model.quotes import Quote
from billing.model.subscriptions import Subscription
from billing.pricing import credit
from core import clock
from core.db import ScopedSession


def is_still_valid(db: ScopedSession, payment: Payment, subscription: Subscription) -> bool:
    """Return whether a plan change whose charge succeeded may still be applied. Otherwise the charge is refunded.

    False if the money that the quote counts on was refunded in the meantime, if the period that it pays for is over, or if the
    subscription is in a state without plan changes.
    """
    quote = db.scalar(select(Quote).where(Quote.payment_id == payment.id).with_for_update())
    if quote is None:
        return False
    if quote.applied_at is not None:
        return True
    ends = quote.next_billing_at if quote.restarts else subscription.next_billing_at
    return (
        lifecycle.may(lifecycle.SUBSCRIPTION, subscription.status, "change_plan")
        and ends is not None
        and ends > clock.now()
        and credit.still_covers(db, subscription, quote)
    )
