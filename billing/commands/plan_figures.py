"""The figures of a plan change. The same inputs at the same moment give the same ones: shown, confirmed and charged alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from typing import Any

from sqlalchemy import func, select

from billing import credit, plans, policy, pricing, proration
from billing.calendar import nth
from billing.cart import cart_of
from billing.catalogue import Product
from billing.commands.businesses import ORDER, check_amount
from billing.credit_lines import Settled, less_credit
from billing.discounts import is_on
from billing.parties import Business
from billing.plans import Wanted
from billing.quotes import VALID, Quote
from billing.subscriptions import Subscription
from core.db import ScopedSession
from core.errors import Conflict, Forbidden, Invalid
from core.ids import new_id

EFFECTIVE = ("immediately", "next_billing_date")


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
    held: Sequence[dict[str, Any]] = (),
) -> Quote:
    """The quote's row, not yet added. The same inputs at the same `as_of` give the same figures."""
    which = plans.direction(subscription, wanted)
    kind = "downgrade" if which == "downgrade" else "upgrade"
    effective_at = effective_at or plans.default(db, business, subscription, f"effective_on_{kind}")
    mode = mode or plans.default(db, business, subscription, f"proration_on_{kind}")
    failure = on_payment_failure or plans.default(db, business, subscription, "on_payment_failure")
    if mode not in proration.MODES or effective_at not in EFFECTIVE or failure not in ("prevent_change", "apply_change"):
        raise Invalid("INVALID_REQUEST_PARAMETERS", "This way of changing a plan is not known.")
    if subscription.is_trial and effective_at == "immediately" and mode != "do_not_bill":
        mode = "full_immediately"  # the change ends the trial and charges now; the other modes are about a period that was paid for
    if customer and mode == "do_not_bill" and effective_at == "immediately":
        raise Forbidden("DO_NOT_BILL_NOT_ALLOWED_IN_CUSTOMER_PORTAL", "This business asks you to contact it to change the plan.")
    if customer and wanted.quantity > 1 and not policy.setting(business, "multiple_subscriptions"):
        raise Invalid("INVALID_QUANTITY", "One of this is all that can be had.", fields={"quantity": "At most 1."})
    product = wanted.product
    if (product.id, wanted.quantity, list(wanted.addons)) == (subscription.product_id, subscription.quantity, list(subscription.addons)):
        raise Invalid(sentence="This is the present plan.", fields={"product_id": "Choose another plan."})

    next_at = subscription.next_billing_at
    present = db.scalar(select(Product).where(Product.business_id == subscription.business_id, Product.id == subscription.product_id))
    assert next_at is not None and present is not None
    interval, count = product.interval or subscription.interval, product.interval_count

    def lines_of(n: int, first: int) -> list[pricing.Line]:
        """A full period of the plan asked for, the n-th of this subscription, when what is new holds from the `first` on."""
        return period(business, subscription, wanted, as_of, nth(as_of, subscription.zone, interval, count, 1), _on(_from(held, first), n))

    balance, n, source = subscription.credit_minor, subscription.period_n + 1, None
    if effective_at == "next_billing_date":
        cost = proration.Cost((), 0, 0, balance, 0, 0, balance, 0, False)
    else:
        worth, source = credit.worth(db, subscription, as_of)
        _few(db, subscription, as_of, nth(as_of, subscription.zone, subscription.interval, subscription.interval_count, -1))
        fraction = _fraction(subscription, interval, count, as_of)
        for n in (subscription.period_n + 1, subscription.period_n):  # a new period; or, where the cycle stays, the rest of this one
            cost = proration.cost(
                mode,
                lines=lines_of(n, n),
                old_minor=_present(business, subscription, present),
                worth=worth,
                balance=balance,
                fraction=fraction,
                least=proration.minimum(subscription.currency),
            )
            if cost.restarts:
                break
    if not cost.lines:  # nothing of this period is billed with it
        n = subscription.period_n + 1
    full = pricing.total(lines_of(n + 1 if cost.lines else n, n))
    check_amount(max(full, cost.total), subscription.currency, "quantity", ORDER)
    bill = _settled(db, subscription, present.name, cost, source)
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
        lines=cart_of(bill.lines),
        discounts=_from(held, n),
        total_minor=cost.total,
        tax=bill.tax,
        unused_minor=cost.unused,
        balance_minor=cost.balance,
        credit_applied_minor=cost.applied,
        credit_minor=cost.credit,
        credit_parts=bill.left if cost.credit > 0 else [],
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


def _settled(db: ScopedSession, subscription: Subscription, present: str, cost: proration.Cost, source: str | None) -> Settled:
    """The lines of the change's invoice: what it costs less the credit that pays for it. `present`: the name of the plan so far."""
    return less_credit(
        cost.lines, unused=cost.unused, unused_parts=credit.paid_parts(db, source) if cost.unused else [], name=present,
        balance=cost.balance, balance_parts=credit.balance_parts(db, subscription) if cost.balance > 0 else [],
    )  # fmt: skip


def period(
    business: Business, subscription: Subscription, wanted: Wanted, starts_at: datetime, ends_at: datetime, held: Sequence[dict[str, Any]]
) -> list[pricing.Line]:
    """A full period of the plan asked for, priced by the function that makes renewals."""
    product = wanted.product
    lines = pricing.for_plan(business, subscription.billing, product, wanted.quantity, wanted.unit_minor, wanted.addons,
                             product.tax_inclusive, held, subscription.tax_id)
    return [replace(one, starts_at=starts_at, ends_at=ends_at) for one in lines]


def _from(held: Sequence[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    """What begins with the change begins with the n-th period."""
    return [one | {"since": n} if one["since"] is None else one for one in held]


def _on(held: Sequence[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    return [one for one in held if is_on(one, n)]


def _present(business: Business, subscription: Subscription, plan: Product) -> int:
    """A full period of the present plan, tax included, as the current one was priced."""
    n = max(subscription.period_n, 1)
    lines = pricing.for_plan(business, subscription.billing, plan, subscription.quantity, subscription.unit_minor,
                             subscription.addons, subscription.tax_inclusive, _on(subscription.discounts or [], n), subscription.tax_id)
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
