"""Quoting a plan change: the figures as a row. The function that shows them is the function that charges them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from typing import Any

from sqlalchemy import func, select

from billing import credit, lifecycle, plans, policy, pricing, proration
from billing.calendar import nth
from billing.cart import cart_of
from billing.commands.forwarding import collects_itself
from billing.parties import Business
from billing.payments import Payment, PaymentMethod
from billing.plans import Option, Wanted
from billing.quotes import VALID, Quote, ScheduledChange
from billing.subscriptions import Subscription
from core import clock
from core.db import ScopedSession
from core.errors import BusinessArchived, Conflict, Forbidden, Invalid, NotFound
from core.ids import new_id

EFFECTIVE = ("immediately", "next_billing_date")
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
) -> Quote:
    """What the change costs, kept for 15 minutes or to the period's end. `addons` [{addon_id, quantity}]; None keeps or drops them
    with the plan. Only a business may name mode, effective_at and on_payment_failure.

    Raises NotFound, Forbidden, Conflict, Invalid (contract §1.5 plan change).
    """
    subscription = load(db, subscription_id)
    customer = db.scope.is_customer
    if customer and (mode or effective_at or on_payment_failure):
        raise Invalid(sentence="How a change is charged is set by the business.", fields={"mode": "Set by the business."})
    if effective_at == "next_billing_date" and mode not in (None, "full_immediately"):
        raise Invalid("INVALID_PRORATION_MODE_WITH_NEXT_BILLING_DATE", "Nothing is prorated at the next billing date.")
    business = check(db, subscription, customer)
    if collects_itself(subscription, "change_plan", ELSEWHERE):  # its figures are the other system's: `plan_elsewhere.foresee`
        raise Conflict("UNSUPPORTED_ACTION", ELSEWHERE)
    wanted = plans.wanted(db, subscription, product_id, quantity, addons, anywhere=not customer)
    row = figures(db, business, subscription, wanted, mode, effective_at, on_payment_failure, clock.now(), customer)
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
    collects_itself(subscription, "change_plan", ELSEWHERE)
    lifecycle.move(lifecycle.SUBSCRIPTION, subscription.status, "change_plan")
    if subscription.cancel_at_period_end:
        raise Conflict("PLAN_CHANGE_NOT_ALLOWED_FOR_SCHEDULED_CANCELLATION", "This is about to end. Keep it first, then change the plan.")
    mine = (Payment.business_id == subscription.business_id, Payment.subscription_id == subscription.id)
    if db.scalar(select(Payment.id).where(*mine, Payment.is_open).limit(1)) is not None:
        raise Conflict("PREVIOUS_PAYMENT_PENDING", "A payment for this is under way. Wait until it is settled.")
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


def figures(
    db: ScopedSession,
    business: Business,
    subscription: Subscription,
    wanted: Wanted,
    mode: str | None,
    effective_at: str | None,
    on_payment_failure: str | None,
    as_of: datetime,
    customer: bool,
) -> Quote:
    """The quote's row, not yet added. The same inputs at the same `as_of` give the same figures."""
    which = plans.direction(subscription, wanted)
    kind = "downgrade" if which == "downgrade" else "upgrade"
    effective_at = effective_at or plans.default(db, business, subscription, f"effective_on_{kind}")
    mode = mode or plans.default(db, business, subscription, f"proration_on_{kind}")
    failure = on_payment_failure or plans.default(db, business, subscription, "on_payment_failure")
    if mode not in proration.MODES or effective_at not in EFFECTIVE or failure not in ("prevent_change", "apply_change"):
        raise Invalid("INVALID_REQUEST_PARAMETERS", "This way of changing a plan is not known.")
    if subscription.is_trial:
        mode, effective_at = "full_immediately", "immediately"  # a change ends the trial and charges now
    if customer and mode == "do_not_bill" and effective_at == "immediately":
        raise Forbidden("DO_NOT_BILL_NOT_ALLOWED_IN_CUSTOMER_PORTAL", "This business asks you to contact it to change the plan.")
    if customer and wanted.quantity > 1 and not policy.setting(business, "multiple_subscriptions"):
        raise Invalid("INVALID_QUANTITY", "One of this is all that can be had.", fields={"quantity": "At most 1."})
    product = wanted.product
    if (product.id, wanted.quantity, list(wanted.addons)) == (subscription.product_id, subscription.quantity, list(subscription.addons)):
        raise Invalid(sentence="This is the present plan.", fields={"product_id": "Choose another plan."})

    next_at = subscription.next_billing_at
    assert next_at is not None
    interval, count = product.interval or subscription.interval, product.interval_count
    lines = period(business, subscription, wanted, as_of, nth(as_of, subscription.zone, interval, count, 1))
    full, balance = pricing.total(lines), subscription.credit_minor
    if effective_at == "next_billing_date":
        cost = proration.Cost((), 0, 0, balance, 0, 0, balance, 0, False)
        source = None
    else:
        worth, source = credit.worth(db, subscription, as_of)
        _few(db, subscription, as_of, nth(as_of, subscription.zone, subscription.interval, subscription.interval_count, -1))
        fraction = _fraction(subscription, interval, count, as_of)
        cost = proration.cost(
            mode,
            lines=lines,
            old_minor=_present(business, subscription),
            worth=worth,
            balance=balance,
            fraction=fraction,
            least=proration.minimum(subscription.currency),
        )
    after = nth(as_of, subscription.zone, interval, count, 1) if cost.restarts else next_at
    return Quote(
        business_id=subscription.business_id,
        customer_id=subscription.customer_id,
        id=new_id("quo"),
        subscription_id=subscription.id,
        version=subscription.version,
        product_id=product.id,
        quantity=wanted.quantity,
        unit_minor=wanted.unit_minor,
        addons=list(wanted.addons),
        direction=which,
        mode=mode,
        effective_at=effective_at,
        on_payment_failure=failure,
        restarts=cost.restarts,
        lines=cart_of(cost.lines),
        total_minor=cost.total,
        tax=sum(one.tax_minor for one in cost.lines),
        unused_minor=cost.unused,
        balance_minor=cost.balance,
        credit_applied_minor=cost.applied,
        credit_minor=cost.credit,
        due_minor=cost.due,
        value_minor=cost.value,
        withdrawn_minor=0,
        source_invoice_id=source,
        currency=subscription.currency,
        as_of=as_of,
        next_billing_at=after,
        next_renewal_minor=full - min(cost.credit, full),
        expires_at=min(as_of + VALID, next_at),
        created_at=as_of,
    )


def period(business: Business, subscription: Subscription, wanted: Wanted, starts_at: datetime, ends_at: datetime) -> list[pricing.Line]:
    """A full period of the plan asked for, priced by the function that makes renewals."""
    product = wanted.product
    bps = pricing.tax_rate(business, (subscription.billing or {}).get("country"))
    lines = [pricing.line(product.name, wanted.quantity, wanted.unit_minor, bps, product.tax_inclusive, product.id)]
    lines += [pricing.line(one["name"], one["quantity"], one["unit_minor"], bps, product.tax_inclusive) for one in wanted.addons]
    return [replace(one, starts_at=starts_at, ends_at=ends_at) for one in lines]


def load(db: ScopedSession, subscription_id: str) -> Subscription:
    found = db.scalar(select(Subscription).where(Subscription.id == subscription_id))
    if found is None:
        raise NotFound(sentence="There is no such subscription.")
    return found


def _present(business: Business, subscription: Subscription) -> int:
    """A full period of the present plan, tax included."""
    bps = pricing.tax_rate(business, (subscription.billing or {}).get("country"))
    lines = [pricing.line("", subscription.quantity, subscription.unit_minor, bps, subscription.tax_inclusive)]
    lines += [pricing.line("", one["quantity"], one["unit_minor"], bps, subscription.tax_inclusive) for one in subscription.addons]
    return pricing.total(lines)


def _fraction(subscription: Subscription, interval: str, count: int, as_of: datetime) -> Fraction:
    """The rest of the current period as a part of the new plan's period; of this very period where both are alike."""
    assert subscription.next_billing_at is not None
    starts = nth(subscription.next_billing_at, subscription.zone, interval, count, -1)
    if (interval, count) == (subscription.interval, subscription.interval_count) and subscription.anchor_at is not None:
        starts = nth(subscription.anchor_at, subscription.zone, interval, count, subscription.period_n - 1 - subscription.anchor_n)
    return proration.share(subscription.next_billing_at - as_of, subscription.next_billing_at - starts)


def _few(db: ScopedSession, subscription: Subscription, as_of: datetime, since: datetime) -> None:
    """At most three immediate changes in the length of one period, however often its cycle began anew."""
    made = db.scalar(
        select(func.count())
        .select_from(Quote)
        .where(Quote.business_id == subscription.business_id, Quote.subscription_id == subscription.id, Quote.applied_at > since)
    )
    if (made or 0) >= proration.CHANGES_PER_PERIOD:
        raise Conflict("PLAN_CHANGE_LIMIT_REACHED", "The plan was changed three times in this period. It can change again in the next one.")
