"""Quoting a plan change: the figures as a row. The function that shows them is the function that charges them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from billing import lifecycle, plans, policy
from billing.commands.blocking import refuse_blocked
from billing.commands.forwarding import collects_itself
from billing.commands.plan_figures import figures
from billing.discounts import fits
from billing.parties import Business, Customer
from billing.payments import Payment, PaymentMethod, Refund
from billing.plans import Option, Wanted
from billing.quotes import Quote, ScheduledChange
from billing.redeeming import Refused, held_for
from billing.subscriptions import Subscription
from core import clock
from core.db import ScopedSession
from core.errors import BusinessArchived, Conflict, Forbidden, Invalid, NotFound

ELSEWHERE = "This subscription is billed by another system. Change its plan there."


def options(db: ScopedSession, subscription_id: str) -> list[Option]:
    """Plans to choose from, the present one marked. Raises NotFound."""
    return plans.options_for(db, load(db, subscription_id))


def quote(
    db: ScopedSession,
    subscription_id: str,
    product_id: str,
    quantity: int | None = None,
    addons: Sequence[dict[str, Any]] | None = None,
    mode: str | None = None,
    effective_at: str | None = None,
    *,
    on_payment_failure: str | None = None,
    payment_method_id: str | None = None,
    codes: Sequence[str] | None = None,
    customer: bool | None = None,
) -> Quote:
    """What the change costs, kept for 15 minutes or to the period's end. `addons` [{addon_id, quantity}]; None keeps or drops them
    with the plan. Only a business may name mode, effective_at and on_payment_failure. `codes`: all the discounts there will be; None:
    those that stay when a plan changes. Codes are the business's own rows, so its scope looks them up; `customer` says for whom.

    Raises NotFound, Forbidden, Conflict, Invalid (contract §1.5 plan change).
    """
    subscription = load(db, subscription_id)
    customer = db.scope.is_customer if customer is None else customer
    if customer and (mode or effective_at or on_payment_failure or (codes is not None and db.scope.is_customer)):
        raise Invalid(sentence="How a change is charged is set by the business.", fields={"mode": "Set by the business."})
    if effective_at == "next_billing_date" and mode not in (None, "full_immediately"):
        raise Invalid("INVALID_PRORATION_MODE_WITH_NEXT_BILLING_DATE", "Nothing is prorated at the next billing date.")
    business = check(db, subscription, customer)
    if collects_itself(subscription, "change_plan", ELSEWHERE):  # its figures are the other system's: `plan_elsewhere.foresee`
        raise Conflict("UNSUPPORTED_ACTION", ELSEWHERE)
    wanted = plans.wanted(db, subscription, product_id, quantity, addons, anywhere=not customer)
    held = discounts_for(db, business, subscription, wanted, codes, customer)
    row = figures(db, business, subscription, wanted, mode, effective_at, on_payment_failure, clock.now(), customer, held)
    row.payment_method_id = subscription.payment_method_id
    if payment_method_id:
        mine = (PaymentMethod.customer_id == subscription.customer_id, PaymentMethod.removed_at.is_(None))
        row.payment_method_id = db.scalar(select(PaymentMethod.id).where(PaymentMethod.id == payment_method_id, *mine))
        if row.payment_method_id is None:
            raise NotFound(sentence="There is no such payment method.")
    db.add(row)
    db.flush()
    return row


def check(db: ScopedSession, subscription: Subscription, customer: bool) -> Business:
    """Whether the plan may change at all now. Raises Conflict, Forbidden."""
    business = db.scalar(select(Business).where(Business.business_id == subscription.business_id))
    if business is None:
        raise NotFound()
    if customer and not policy.allows(business, "plan_change"):
        raise Forbidden("PLAN_CHANGE_FOR_CUSTOMER_PORTAL_DISABLED", "This business asks you to contact it to change the plan.")
    if business.archived_at is not None:
        raise BusinessArchived(sentence="This business is closed.")
    if customer:
        refuse_blocked(db, subscription.customer_id)
    collects_itself(subscription, "change_plan", ELSEWHERE)
    lifecycle.move(lifecycle.SUBSCRIPTION, subscription.status, "change_plan")
    if subscription.cancel_at_period_end:
        raise Conflict("PLAN_CHANGE_NOT_ALLOWED_FOR_SCHEDULED_CANCELLATION", "This is about to end. Keep it first, then change the plan.")
    mine = (Payment.business_id == subscription.business_id, Payment.subscription_id == subscription.id)
    if db.scalar(select(Payment.id).where(*mine, Payment.is_open).limit(1)) is not None:
        raise Conflict("PREVIOUS_PAYMENT_PENDING", "A payment for this is under way. Wait until it is settled.")
    refund = select(Refund.id).where(Refund.business_id == subscription.business_id, Refund.subscription_id == subscription.id)
    if db.scalar(refund.where(Refund.status == "pending").limit(1)) is not None:
        raise Conflict("PREVIOUS_PAYMENT_PENDING", "A refund for this is under way. Wait until it is settled.")
    if waiting(db, subscription) is not None:
        raise Conflict("SCHEDULED_PLAN_CHANGE_EXISTS", "A change is planned already. Cancel it first.")
    if subscription.next_billing_at is None or subscription.next_billing_at <= clock.now():
        raise Conflict("PREVIOUS_PAYMENT_PENDING", "This is being renewed right now. Try again in a moment.")
    return business


def waiting(db: ScopedSession, subscription: Subscription) -> ScheduledChange | None:
    """The change that waits for the next billing date."""
    return db.scalar(
        select(ScheduledChange).where(
            ScheduledChange.business_id == subscription.business_id,
            ScheduledChange.subscription_id == subscription.id,
            ScheduledChange.cancelled_at.is_(None),
            ScheduledChange.applied_at.is_(None),
        )
    )


def discounts_for(
    db: ScopedSession, business: Business, subscription: Subscription, wanted: Wanted, codes: Sequence[str] | None,
    by_customer: bool = False,
) -> list[dict[str, Any]]:
    """What the subscription will have; `since` None where it begins with the change. Raises Refused (contract §1.5, discount).

    `by_customer`: a code that the business lets go with the old plan cannot be named again for it.
    """
    product_id = wanted.product.id
    present = {one["code"]: one for one in subscription.discounts or []}
    if codes is None:
        return [one for one in present.values() if one["keeps"] and fits(one, product_id)]
    customer = db.scalar(select(Customer).where(Customer.customer_id == subscription.customer_id))
    assert customer is not None
    named = ["".join(code.split()).upper() for code in codes]
    if by_customer and (spent := [one for one in named if one in present and not present[one]["keeps"]]):
        raise Refused("DISCOUNT_ALREADY_USED_ON_SUBSCRIPTION", f"{spent[0]} goes with the present plan.", spent[0])
    fresh = held_for(db, business, customer, [one for one in named if one not in present], currency=subscription.currency,
                     product_ids=[product_id], changing=True)
    added = {one["code"]: one | {"since": None} for one in fresh}
    if lost := [one for one in named if one in present and not fits(present[one], product_id)]:
        raise Refused("DISCOUNT_NOT_APPLICABLE_TO_NEW_PRODUCT", f"{lost[0]} is not for this product.", lost[0])
    return [(added.get(one) or present[one]) | {"position": place} for place, one in enumerate(named)]


def load(db: ScopedSession, subscription_id: str) -> Subscription:
    found = db.scalar(select(Subscription).where(Subscription.id == subscription_id))
    if found is None:
        raise NotFound(sentence="There is no such subscription.")
    return found
