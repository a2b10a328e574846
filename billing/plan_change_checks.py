"""Whether a plan change that was paid may still be made."""

from __future__ import annotations

from sqlalchemy import select

from billing import credit, lifecycle
from billing.payments import Payment
from billing.quotes import Quote
from billing.subscriptions import Subscription
from core import clock
from core.db import ScopedSession


def still_holds(db: ScopedSession, payment: Payment, subscription: Subscription) -> bool:
    """Whether the charge of a plan change, now that it succeeded, may still change the plan. Otherwise the money goes back.

    False when the money that the quote counts on was refunded meanwhile, when the period that it pays for is over, and when the
    subscription is in a state that has no plan changes.
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
