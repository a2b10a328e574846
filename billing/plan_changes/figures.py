"""Compute the figures of a plan change. The same function serves the quote, its confirmation and the charge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from typing import Any

from sqlalchemy import func, select

from billing.model import policy
from billing.model.catalogue import Product
from billing.model.discounts import is_on
from billing.model.parties import Business
from billing.model.quotes import VALID, Quote
from billing.model.subscriptions import Subscription
from billing.plan_changes import eligibility
from billing.plan_changes.eligibility import Wanted
from billing.pricing import credit, prices, proration
from billing.pricing.calendar import nth
from billing.pricing.credit_lines import Settled, less_credit
from billing.pricing.limits import ORDER, check_amount
from billing.pricing.line_items import cart_of
from billing.pricing.tax_setup import hosted_account
from core.db import ScopedSession
from core.errors import N_, Conflict, Forbidden, Invalid
from core.ids import new_id

EFFECTIVE = ("immediately", "next_billing_date")
CHARGES_NOW = N_("Stripe Tax calculates the taxes of this business. A plan change can then only take effect at the next billing date.")


@dataclass(frozen=True)
class ChangeTerms:
    """When a plan change takes effect and how it is charged. None: the default (`eligibility.default`)."""

    mode: str | None = None
    effective_at: str | None = None
    on_payment_failure: str | None = None


@dataclass(frozen=True)
class _CompleteTerms:
    """`ChangeTerms` with the defaults filled in."""

    mode: str
    effective_at: str
    on_payment_failure: str


def compute_quote(
    db: ScopedSession,
    business: Business,
    subscription: Subscription,
    wanted: Wanted,
    terms: ChangeTerms,
    *,
    as_of: datetime,
    by_customer: bool,
    discounts: Sequence[dict[str, Any]] = (),
) -> Quote:
    """Return the quote as a row that is not yet added. The same inputs at the same `as_of` give the same figures.

    `discounts`: those the subscription will have; `since` is None where one begins with the change. Raises Invalid, Forbidden, Conflict.
    """
    direction = eligibility.direction(subscription, wanted)
    resolved = _resolve_terms(db, business, subscription, direction, terms, by_customer=by_customer)
    _check_wanted(business, subscription, wanted, by_customer=by_customer)
    product, next_at = wanted.product, subscription.next_billing_at
    present = db.scalar(select(Product).where(Product.business_id == subscription.business_id, Product.id == subscription.product_id))
    assert next_at is not None and present is not None
    interval, count = product.interval or subscription.interval, product.interval_count
    period_end = nth(as_of, subscription.zone, interval, count, 1)

    def lines_of(n: int, first: int, at: datetime = as_of) -> list[prices.PriceLine]:
        """Price the n-th period of this subscription on the new plan, with new discounts in effect from period `first`. `at`: tax point."""
        return _price_period(business, subscription, wanted, (at, period_end), _in_effect(_starting(discounts, first), n))

    n, source = subscription.period_n + 1, None
    if resolved.effective_at == "next_billing_date":
        cost = _no_cost(subscription.credit_minor)
    else:
        worth, source = credit.period_worth(db, subscription, as_of)
        _check_change_limit(db, subscription, as_of)
        fraction = _fraction(subscription, interval, count, as_of)
        n, cost = _cost_now(business, subscription, present, resolved.mode, lines_of, worth=worth, fraction=fraction)
    if not cost.lines:  # nothing is billed for the current period
        n = subscription.period_n + 1
    renews_at = period_end if cost.restarts else next_at
    full = prices.total(lines_of(n + 1 if cost.lines else n, n, renews_at))
    check_amount(max(full, cost.total), subscription.currency, "quantity", ORDER)
    bill = _less_credit(db, subscription, present.name, cost, source)
    return Quote(
        business_id=subscription.business_id, customer_id=subscription.customer_id, id=new_id("quo"), subscription_id=subscription.id,
        version=subscription.version, product_id=product.id, quantity=wanted.quantity, unit_minor=wanted.unit_minor,
        addons=list(wanted.addons), direction=direction, mode=resolved.mode, effective_at=resolved.effective_at,
        on_payment_failure=resolved.on_payment_failure, restarts=cost.restarts, lines=cart_of(bill.lines),
        discounts=_starting(discounts, n), total_minor=cost.total, tax=bill.tax, unused_minor=cost.unused, balance_minor=cost.balance,
        credit_applied_minor=cost.applied, credit_minor=cost.credit, credit_parts=bill.left if cost.credit > 0 else [],
        due_minor=cost.due, value_minor=cost.value, withdrawn_minor=0, source_invoice_id=source, currency=subscription.currency,
        as_of=as_of, next_billing_at=renews_at, next_renewal_minor=full - min(cost.credit, full),
        expires_at=min(as_of + VALID, next_at), created_at=as_of,
    )  # fmt: skip


def _resolve_terms(
    db: ScopedSession, business: Business, subscription: Subscription, direction: str, terms: ChangeTerms, *, by_customer: bool
) -> _CompleteTerms:
    """Fill in the defaults. Raises Invalid for an unknown value, Forbidden for one that customers may not use."""
    kind = "downgrade" if direction == "downgrade" else "upgrade"
    effective_at = terms.effective_at or eligibility.default(db, business, subscription, f"effective_on_{kind}")
    mode = terms.mode or eligibility.default(db, business, subscription, f"proration_on_{kind}")
    failure = terms.on_payment_failure or eligibility.default(db, business, subscription, "on_payment_failure")
    if mode not in proration.MODES or effective_at not in EFFECTIVE or failure not in ("prevent_change", "apply_change"):
        raise Invalid("INVALID_REQUEST_PARAMETERS", N_("This plan change option is unknown."))
    if effective_at == "next_billing_date":
        mode = "full_immediately" if hosted_account(business) is not None else mode
    elif mode != "do_not_bill" and hosted_account(business) is not None:
        raise Conflict("UNSUPPORTED_ACTION", CHARGES_NOW)
    if subscription.is_trial and effective_at == "immediately" and mode != "do_not_bill":
        mode = "full_immediately"  # the change ends the trial and charges now; the other modes need a paid period
    if by_customer and mode == "do_not_bill" and effective_at == "immediately":
        raise Forbidden("DO_NOT_BILL_NOT_ALLOWED_IN_CUSTOMER_PORTAL", N_("To change your plan, contact this business."))
    return _CompleteTerms(mode, effective_at, failure)


def _check_wanted(business: Business, subscription: Subscription, wanted: Wanted, *, by_customer: bool) -> None:
    """Raises Invalid for more than one where the business sells one, and for the current plan unchanged."""
    if by_customer and wanted.quantity > 1 and not policy.setting(business, "multiple_subscriptions"):
        raise Invalid("INVALID_QUANTITY", N_("You can have only one of this plan."), fields={"quantity": N_("At most 1.")})
    current = (subscription.product_id, subscription.quantity, list(subscription.addons))
    if (wanted.product.id, wanted.quantity, list(wanted.addons)) == current:
        raise Invalid(sentence=N_("This is the current plan."), fields={"product_id": N_("Choose another plan.")})


def _no_cost(balance: int) -> proration.Cost:
    """Nothing is billed now and the credit is kept."""
    return proration.Cost((), total=0, unused=0, balance=balance, applied=0, due=0, credit=balance, value=0, restarts=False)


def _cost_now(
    business: Business,
    subscription: Subscription,
    present: Product,
    mode: str,
    lines_of: Callable[[int, int], list[prices.PriceLine]],
    *,
    worth: proration.Worth,
    fraction: Fraction,
) -> tuple[int, proration.Cost]:
    """(number of the period that is billed, cost). A new period is billed, or the rest of the current one where the cycle stays."""
    n = subscription.period_n + 1
    for n in (subscription.period_n + 1, subscription.period_n):
        cost = proration.cost(
            mode,
            lines=lines_of(n, n),
            old_minor=_present_price(business, subscription, present),
            worth=worth,
            balance=subscription.credit_minor,
            fraction=fraction,
            least=proration.minimum(subscription.currency),
        )
        if cost.restarts:
            break
    return n, cost


def _less_credit(db: ScopedSession, subscription: Subscription, present: str, cost: proration.Cost, source: str | None) -> Settled:
    """Return the lines of the change's invoice: its cost less the credit that pays for it. `present`: the name of the current plan."""
    return less_credit(
        cost.lines, unused=cost.unused, unused_parts=credit.paid_parts(db, source) if cost.unused else [], name=present,
        balance=cost.balance, balance_parts=credit.balance_parts(db, subscription) if cost.balance > 0 else [],
    )  # fmt: skip


def _price_period(
    business: Business, subscription: Subscription, wanted: Wanted, period: tuple[datetime, datetime], discounts: Sequence[dict[str, Any]]
) -> list[prices.PriceLine]:
    """A full period of the new plan, priced by the same function as renewals. The tax point is the start of `period`."""
    product, (starts_at, ends_at) = wanted.product, period
    lines = prices.for_plan(
        business,
        product,
        billing=subscription.billing,
        tax_id=subscription.tax_id,
        quantity=wanted.quantity,
        unit_minor=wanted.unit_minor,
        addons=wanted.addons,
        inclusive=product.tax_inclusive,
        discounts=discounts,
        at=starts_at,
    )
    return [replace(line, starts_at=starts_at, ends_at=ends_at) for line in lines]


def _starting(discounts: Sequence[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    """Discounts that begin with the change begin with the n-th period."""
    return [item | {"since": n} if item["since"] is None else item for item in discounts]


def _in_effect(discounts: Sequence[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    return [item for item in discounts if is_on(item, n)]


def _present_price(business: Business, subscription: Subscription, plan: Product) -> int:
    """A full period of the current plan with tax, priced as the current period was. Minor units."""
    n = max(subscription.period_n, 1)
    discounts = _in_effect(subscription.discounts or [], n)
    return prices.total(prices.at_agreed_price(business, subscription, plan, discounts, at=subscription.previous_billing_at))


def _fraction(subscription: Subscription, interval: str, count: int, as_of: datetime) -> Fraction:
    """The rest of the current period as a fraction of the new plan's period.

    Where both have the same interval, it is the fraction of the current period itself.
    """
    assert subscription.next_billing_at is not None
    starts = nth(subscription.next_billing_at, subscription.zone, interval, count, -1)
    if (interval, count) == (subscription.interval, subscription.interval_count) and subscription.anchor_at is not None:
        starts = nth(subscription.anchor_at, subscription.zone, interval, count, subscription.period_n - 1 - subscription.anchor_n)
    return proration.share(subscription.next_billing_at - as_of, subscription.next_billing_at - starts)


def _check_change_limit(db: ScopedSession, subscription: Subscription, as_of: datetime) -> None:
    """At most three immediate changes within the length of one period, however often the cycle restarted. Raises Conflict."""
    since = nth(as_of, subscription.zone, subscription.interval, subscription.interval_count, -1)
    made = db.scalar(
        select(func.count())
        .select_from(Quote)
        .where(Quote.business_id == subscription.business_id, Quote.subscription_id == subscription.id, Quote.applied_at > since)
    )
    if (made or 0) >= proration.CHANGES_PER_PERIOD:
        raise Conflict(
            "PLAN_CHANGE_LIMIT_REACHED", N_("The plan has changed three times in this period. It can change again in the next period.")
        )
