"""Refund a payment as its customer, under the business's refund policy.

The refund runs through `billing/charging` in three steps like every refund. Its request and the end of the subscription are one
transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, or_, select

from billing.charging.payment_processor import PaymentProcessor
from billing.charging.refunds import lock_subscription, request_refund
from billing.model.events import emit_about
from billing.model.parties import Customer
from billing.model.payments import Payment, Refund
from billing.model.quotes import VALID
from billing.self_refunds.assessment import Assessment, assess
from billing.self_refunds.facts import find_payment, load_facts
from billing.subscriptions.end_now import end_at_once
from core import clock
from core.db import ScopedSession
from core.errors import N_, Conflict, Invalid, NotFound
from core.scope import Scope, system

REASONS = {
    "mistake": N_("Bought by mistake"),
    "not_as_expected": N_("Not what I expected"),
    "too_expensive": N_("Too expensive"),
    "unused": N_("I don’t use it"),
    "technical": N_("It doesn’t work for me"),
    "other": N_("Something else"),
}
"""Code of a form → the reason as it is stored with the refund."""
CHANGED = N_("The refund has changed since you opened this page. Nothing was refunded. Please review it again.")
OBSTACLES: dict[str, tuple[str, str]] = {
    "archived": ("BUSINESS_ARCHIVED", N_("This business has closed. It makes no more refunds here.")),
    "unrecognized": ("UNSUPPORTED_ACTION", N_("Approve this business first.")),
    "external": ("UNSUPPORTED_ACTION", N_("This was paid through another system. Ask the business for a refund.")),
    "unpaid": ("PAYMENT_NOT_SUCCEEDED", N_("Only a successful payment can be refunded.")),
    "nothing_paid": ("ZERO_AMOUNT_PAYMENT_REFUND_NOT_ALLOWED", N_("Nothing was charged, so nothing can be refunded.")),
    "refunded": ("PAYMENT_ALREADY_REFUNDED", N_("This payment has already been refunded in full.")),
    "in_progress": ("EXISTING_REFUND_REQUEST_PROCESSING", N_("A refund of this payment is already in progress.")),
    "disputed": ("PAYMENT_DISPUTED", N_("You disputed this payment with your bank. It cannot be refunded as well.")),
    "too_old": ("REFUND_WINDOW_EXPIRED", N_("A payment can be refunded within 90 days.")),
    "open_payment": ("PREVIOUS_PAYMENT_PENDING", N_("A payment for this subscription is in progress. Wait until it is settled.")),
    "blocked": ("CUSTOMER_BLOCKED", N_("The business has to decide about your refunds.")),
    "account_closed": ("UNSUPPORTED_ACTION", N_("The business closed the payment account that you paid to.")),
    "used_up": ("NOTHING_TO_REFUND", N_("The time that this payment paid for is over.")),
    "nothing_left": ("NOTHING_TO_REFUND", N_("Nothing of this payment is left to refund.")),
}
"""Obstacle → error code and sentence."""


@dataclass(frozen=True)
class Shown:
    """What the customer saw: `amount_minor` for the unused time at `as_of`, and the number of earlier refunds of the payment."""

    amount_minor: int
    as_of: datetime
    seen: int


def assess_payment(db: ScopedSession, payment_id: str) -> Assessment:
    """Return what the customer's page shows. Raises NotFound."""
    return assess(load_facts(db, find_payment(db, payment_id)))


def refund_own_payment(processor: PaymentProcessor, scope: Scope, payment_id: str, shown: Shown, reason: str | None = None) -> Refund:
    """Refund what was shown, or nothing. Opens its own sessions. Idempotent: with the number of refunds seen, a form refunds once.

    Raises NotFound, Invalid (reason), Conflict (OBSTACLES; REFUND_POLICY_NOT_MET; REFUND_CHANGED if the amount differs or was shown more
    than 15 minutes ago).
    """
    if reason and reason not in REASONS:
        raise Invalid(fields={"reason": N_("Choose a reason from the list, or none.")})
    with processor.database.open(scope) as db:
        found = find_payment(db, payment_id)
        business_id, customer_id = found.business_id, found.customer_id
    with processor.database.open(system(business_id, scope.actor), write=True) as db:
        _lock(db, payment_id, customer_id)
        payment = find_payment(db, payment_id)
        if payment.customer_id != customer_id:
            raise NotFound()
        assessed = assess(load_facts(db, payment), shown.as_of)
        refuse_unless_allowed(assessed)
        age = clock.now() - shown.as_of
        if (assessed.amount_minor, assessed.seen) != (shown.amount_minor, shown.seen) or not timedelta(0) <= age <= VALID:
            raise Conflict("REFUND_CHANGED", CHANGED)
        row = request_refund(db, payment, assessed.amount_minor, REASONS[reason] if reason else None, processor.settings, by_policy=True)
        policy = assessed.policy.stored()
        emit_about(db, row, "refund.by_policy", amount=row.amount_minor, currency=row.currency, payment_id=payment.id, policy=policy)
        if assessed.ends_subscription and assessed.subscription is not None:
            end_at_once(db, assessed.subscription)
    processor.start_refund(business_id, row.id)
    with processor.database.open(scope) as db:
        return db.scalars(select(Refund).where(Refund.business_id == business_id, Refund.id == row.id)).one()


def refuse_unless_allowed(assessed: Assessment) -> None:
    """Raise Conflict unless the customer may refund the payment now."""
    if assessed.obstacle is not None and assessed.policy.is_on:
        raise Conflict(*OBSTACLES[assessed.obstacle])
    if not assessed.is_allowed:
        raise Conflict("REFUND_POLICY_NOT_MET", N_("The refund policy of the business does not cover this payment."))


def _lock(db: ScopedSession, payment_id: str, customer_id: str) -> None:
    """Lock the customer, so that two refunds of different payments count each other, then the payments, then the subscription."""
    db.scalar(select(Customer.customer_id).where(Customer.customer_id == customer_id).with_for_update(key_share=True))
    subscription_id = db.scalar(select(Payment.subscription_id).where(Payment.id == payment_id))
    mine = Payment.id == payment_id
    if subscription_id is not None:
        mine = or_(mine, and_(Payment.subscription_id == subscription_id, Payment.is_open))
    db.scalars(select(Payment).where(mine).order_by(Payment.id).with_for_update()).all()
    lock_subscription(db, subscription_id)
