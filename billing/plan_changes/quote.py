"""Quote a plan change: store its figures as a row that the confirmation charges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from billing.charging.discount_redemption import DiscountRefused, discounts_for_codes
from billing.external.enqueue import collects_itself
from billing.model import lifecycle, policy
from billing.model.discounts import fits
from billing.model.parties import Business, Customer
from billing.model.payment_accounts import is_chargeable
from billing.model.payments import Payment, PaymentMethod, Refund
from billing.model.policy import refuse_blocked
from billing.model.quotes import Quote, scheduled_change
from billing.model.subscriptions import Subscription, load_subscription
from billing.plan_changes import eligibility
from billing.plan_changes.eligibility import PlanOption, Wanted
from billing.plan_changes.figures import ChangeTerms, compute_quote
from core import clock
from core.db import ScopedSession
from core.errors import N_, BusinessArchived, Conflict, Forbidden, Invalid, NotFound

EXTERNAL = N_("This subscription is billed by another system. Change its plan there.")


def options(db: ScopedSession, subscription_id: str) -> list[PlanOption]:
    """The plans to choose from, with the current one marked. Raises NotFound."""
    return eligibility.options_for(db, load_subscription(db, subscription_id, lock=False))


def quote(
    db: ScopedSession,
    subscription_id: str,
    product_id: str,
    quantity: int | None = None,
    addons: Sequence[dict[str, Any]] | None = None,
    *,
    mode: str | None = None,
    effective_at: str | None = None,
    on_payment_failure: str | None = None,
    payment_method_id: str | None = None,
    codes: Sequence[str] | None = None,
    customer: bool | None = None,
) -> Quote:
    """Store a quote that is valid for 15 minutes, at most until the period's end. Returns the row.

    `addons` [{addon_id, quantity}]; None keeps or drops them with the plan. Only a business may pass mode, effective_at and
    on_payment_failure. `codes`: all discounts of the subscription after the change; None keeps those that stay. Codes are rows
    of the business, so its scope looks them up; `customer` says whether the quote is for a customer.
    Raises NotFound, Forbidden, Conflict, Invalid (contract §1.5 plan change).
    """
    subscription = load_subscription(db, subscription_id, lock=False)
    customer = db.scope.is_customer if customer is None else customer
    if customer and (mode or effective_at or on_payment_failure or (codes is not None and db.scope.is_customer)):
        raise Invalid(sentence=N_("The business decides how a plan change is charged."), fields={"mode": N_("Set by the business.")})
    if effective_at == "next_billing_date" and mode not in (None, "full_immediately"):
        raise Invalid("INVALID_PRORATION_MODE_WITH_NEXT_BILLING_DATE", N_("A change at the next billing date cannot be prorated."))
    business = check(db, subscription, customer)
    if collects_itself(subscription, "change_plan", EXTERNAL):  # quoted by `external.quote_external`
        raise Conflict("UNSUPPORTED_ACTION", EXTERNAL)
    wanted = eligibility.wanted(db, subscription, product_id, quantity, addons, anywhere=not customer)
    discounts = discounts_for(db, business, subscription, wanted, codes, customer)
    terms = ChangeTerms(mode, effective_at, on_payment_failure)
    row = compute_quote(db, business, subscription, wanted, terms, as_of=clock.now(), by_customer=customer, discounts=discounts)
    row.payment_method_id = subscription.payment_method_id
    if payment_method_id:
        of_customer = (PaymentMethod.customer_id == subscription.customer_id, is_chargeable())
        row.payment_method_id = db.scalar(select(PaymentMethod.id).where(PaymentMethod.id == payment_method_id, *of_customer))
        if row.payment_method_id is None:
            raise NotFound(sentence=N_("There is no such payment method."))
    db.add(row)
    db.flush()
    return row


def check(db: ScopedSession, subscription: Subscription, customer: bool) -> Business:
    """Return the business if the plan may change now. Raises Conflict, Forbidden, NotFound."""
    business = db.scalar(select(Business).where(Business.business_id == subscription.business_id))
    if business is None:
        raise NotFound()
    if customer and not policy.allows(business, "plan_change"):
        raise Forbidden("PLAN_CHANGE_FOR_CUSTOMER_PORTAL_DISABLED", N_("To change your plan, contact this business."))
    if business.archived_at is not None:
        raise BusinessArchived(sentence=N_("This business is closed."))
    if customer:
        refuse_blocked(db, subscription.customer_id)
    collects_itself(subscription, "change_plan", EXTERNAL)
    lifecycle.move(lifecycle.SUBSCRIPTION, subscription.status, "change_plan")
    if subscription.cancel_at_period_end:
        raise Conflict(
            "PLAN_CHANGE_NOT_ALLOWED_FOR_SCHEDULED_CANCELLATION",
            N_("This subscription is scheduled to end. Keep it first, then change the plan."),
        )
    of_subscription = (Payment.business_id == subscription.business_id, Payment.subscription_id == subscription.id)
    if db.scalar(select(Payment.id).where(*of_subscription, Payment.is_open).limit(1)) is not None:
        raise Conflict("PREVIOUS_PAYMENT_PENDING", N_("A payment for this subscription is in progress. Wait until it finishes."))
    refund = select(Refund.id).where(Refund.business_id == subscription.business_id, Refund.subscription_id == subscription.id)
    if db.scalar(refund.where(Refund.status == "pending").limit(1)) is not None:
        raise Conflict("PREVIOUS_PAYMENT_PENDING", N_("A refund for this subscription is in progress. Wait until it finishes."))
    if scheduled_change(db, subscription) is not None:
        raise Conflict("SCHEDULED_PLAN_CHANGE_EXISTS", N_("A plan change is already scheduled. Cancel it first."))
    if subscription.next_billing_at is None or subscription.next_billing_at <= clock.now():
        raise Conflict("PREVIOUS_PAYMENT_PENDING", N_("This subscription is being renewed right now. Try again in a moment."))
    return business


def discounts_for(
    db: ScopedSession,
    business: Business,
    subscription: Subscription,
    wanted: Wanted,
    codes: Sequence[str] | None,
    by_customer: bool = False,
) -> list[dict[str, Any]]:
    """The discounts the subscription will have; `since` is None for those that begin with the change.

    `by_customer`: a code that ends with the old plan cannot be used again. Raises DiscountRefused (contract §1.5, discount).
    """
    product_id = wanted.product.id
    present = {discount["code"]: discount for discount in subscription.discounts or []}
    if codes is None:
        return [discount for discount in present.values() if discount["keeps"] and fits(discount, product_id)]
    customer = db.scalar(select(Customer).where(Customer.customer_id == subscription.customer_id))
    assert customer is not None
    requested = ["".join(code.split()).upper() for code in codes]
    if by_customer and (ended := [code for code in requested if code in present and not present[code]["keeps"]]):
        raise DiscountRefused("DISCOUNT_ALREADY_USED_ON_SUBSCRIPTION", f"{ended[0]} ends with the current plan.", ended[0])
    fresh = discounts_for_codes(
        db,
        business,
        customer,
        [code for code in requested if code not in present],
        currency=subscription.currency,
        product_ids=[product_id],
        changing=True,
    )
    added = {discount["code"]: discount | {"since": None} for discount in fresh}
    if unfit := [code for code in requested if code in present and not fits(present[code], product_id)]:
        raise DiscountRefused("DISCOUNT_NOT_APPLICABLE_TO_NEW_PRODUCT", f"{unfit[0]} does not apply to this product.", unfit[0])
    return [(added.get(code) or present[code]) | {"position": place} for place, code in enumerate(requested)]
