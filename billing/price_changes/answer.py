"""The customer's answer to an announced price change. An answer can be changed until the new price counts."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import select

from billing.model.events import emit_about
from billing.model.price_changes import PriceChange, SubscriptionPriceChange
from billing.model.subscriptions import Subscription, load_subscription
from core import clock
from core.db import ScopedSession
from core.errors import N_, Conflict, Invalid

Answer = Literal["accepted", "refused"]
_EVENTS = {"accepted": "subscription.price_change_accepted", "refused": "subscription.price_change_refused"}


def coming_change(db: ScopedSession, subscription_id: str) -> SubscriptionPriceChange | None:
    """Return the announced price change of a subscription of the scope, if there is one that is not stopped."""
    row = SubscriptionPriceChange
    return db.scalar(
        select(row)
        .join(PriceChange, (PriceChange.business_id == row.business_id) & (PriceChange.id == row.price_change_id))
        .where(row.subscription_id == subscription_id, row.status == "announced", PriceChange.stopped_at.is_(None))
    )


def answer(db: ScopedSession, subscription_id: str, said: str, change_id: str) -> Subscription:
    """Store the answer to the change that the customer was shown (`change_id`). Idempotent.

    Raises NotFound, Invalid, Conflict NO_PRICE_CHANGE (none, another, or already in force), NO_CONSENT_NEEDED.
    """
    subscription = load_subscription(db, subscription_id)
    if said not in _EVENTS:
        raise Invalid(fields={"answer": N_("Choose whether you agree.")})
    row = coming_change(db, subscription_id)
    if row is None or row.id != change_id:
        raise Conflict("NO_PRICE_CHANGE", N_("This price change is no longer open. Look at the subscription for the price that counts."))
    if not row.needs_consent:
        raise Conflict("NO_CONSENT_NEEDED", N_("This price change counts without your consent. You can cancel before it does."))
    if row.answer != said:
        row.answer, row.answered_at = said, clock.now()
        emit_about(
            db, subscription, _EVENTS[said], amount=row.total_minor, old_amount=row.old_total_minor,
            currency=row.currency, next_billing_at=row.applies_at.isoformat(), price_change_id=row.price_change_id,
        )  # fmt: skip
    return subscription
