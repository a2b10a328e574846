"""Read what the plan change pages show: the plans with their prices, the add-ons, and a quote with its outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import and_, or_, select

from billing.external.port import FREE_ADDONS, can
from billing.model import policy
from billing.model.catalogue import Addon, Product
from billing.model.payment_accounts import is_chargeable
from billing.model.payments import Payment, PaymentMethod
from billing.model.quotes import Quote
from billing.model.subscriptions import Subscription, load_subscription
from billing.plan_changes import eligibility
from billing.plan_changes import quote as quote_plan_change
from billing.plan_changes.eligibility import PlanOption
from billing.pricing import prices
from billing.pricing.taxes import Treatment
from core.db import ScopedSession
from core.errors import N_, NotFound


@dataclass(frozen=True)
class PlanChoice:
    """A plan. `price_minor`: of one for one period, tax included, in minor units. `waits`: it starts at the next billing date."""

    option: PlanOption
    price_minor: int
    waits: bool


@dataclass(frozen=True)
class AddonChoice:
    """An add-on. `price_minor`: of one, tax included. `held`: the current quantity. `product_ids`: the plans that offer it."""

    id: str
    name: str
    price_minor: int
    held: int
    product_ids: tuple[str, ...]


@dataclass(frozen=True)
class PlanChoices:
    """`left_out`: there are plans that could only start at the next billing date, and the other billing system cannot schedule a change."""

    plans: list[PlanChoice]
    addons: list[AddonChoice]
    has_quantity: bool
    left_out: bool = False


@dataclass(frozen=True)
class ShownPlans:
    """A quote with the name and interval of its plan, its payment and the payment method."""

    quote: Quote
    name: str
    interval: str
    interval_count: int
    payment: Payment | None
    method: PaymentMethod | None

    @property
    def is_settled(self) -> bool:
        """Whether the quote was used and not declined."""
        return self.quote.used_at is not None and self.quote.outcome != "declined"


def choices(db: ScopedSession, subscription_id: str) -> PlanChoices:
    """The plans and add-ons to choose from. Raises NotFound, and Conflict or Forbidden when the plan cannot change now (`quote.check`)."""
    subscription = load_subscription(db, subscription_id, lock=False)
    business = quote_plan_change.check(db, subscription, db.scope.is_customer)
    options = eligibility.options_for(db, subscription) or [_current_plan(db, subscription)]
    waits = {
        kind: eligibility.default(db, business, subscription, f"effective_on_{kind}") == "next_billing_date"
        for kind in ("upgrade", "downgrade")
    }
    schedules = can(subscription.collected_by, "keep_plan")
    possible = [option for option in options if option.is_current or schedules or not waits[_kind(option)]]
    left_out, options = len(possible) < len(options), possible
    taxes = {
        option.product_id: prices.rate_of(business, subscription.billing, subscription.tax_id, option.tax_category) for option in options
    }
    offered = [
        PlanChoice(
            option, prices.line("", 1, option.unit_minor, taxes[option.product_id], option.tax_inclusive).gross_minor, waits[_kind(option)]
        )
        for option in options
    ]
    several = bool(policy.setting(business, "multiple_subscriptions")) or subscription.quantity > 1
    has_quantity = several and not all(option.usage_based for option in options)
    return PlanChoices(offered, _addons(db, subscription, options, taxes), has_quantity, left_out)


def _kind(option: PlanOption) -> Literal["upgrade", "downgrade"]:
    return "downgrade" if option.direction == "downgrade" else "upgrade"


def shown(db: ScopedSession, subscription_id: str, quote_id: str) -> ShownPlans:
    """A quote and its outcome. Raises NotFound, also for a quote of another subscription."""
    theirs = and_(
        PaymentMethod.removed_at.is_(None), PaymentMethod.held_by != "us", PaymentMethod.held_by == Subscription.collected_by
    )  # the other system charges its own payment method
    row = db.execute(
        select(Quote, Product.name, Product.interval, Product.interval_count, Payment, PaymentMethod)
        .join(Product, and_(Product.business_id == Quote.business_id, Product.id == Quote.product_id))
        .join(Subscription, and_(Subscription.business_id == Quote.business_id, Subscription.id == Quote.subscription_id))
        .outerjoin(Payment, and_(Payment.business_id == Quote.business_id, Payment.id == Quote.payment_id))
        .outerjoin(
            PaymentMethod,
            and_(PaymentMethod.business_id == Quote.business_id, PaymentMethod.id == Quote.payment_method_id, or_(is_chargeable(), theirs)),
        )
        .where(Quote.id == quote_id, Quote.subscription_id == subscription_id)
    ).first()
    if row is None:
        raise NotFound(sentence=N_("There is no such quote."))
    return ShownPlans(row[0], row[1], row[2] or "Month", row[3], row[4], row[5])


def _current_plan(db: ScopedSession, subscription: Subscription) -> PlanOption:
    """The current plan, where the business offers no other."""
    product = db.scalar(select(Product).where(Product.business_id == subscription.business_id, Product.id == subscription.product_id))
    assert product is not None
    return PlanOption(
        product.id,
        product.name,
        product.description,
        product.image,
        product.currency,
        subscription.unit_minor,
        subscription.tax_inclusive,
        subscription.interval,
        subscription.interval_count,
        "same",
        True,
        product.price_type == "usage_based_price",
        tuple(product.addons),
        tax_category=product.tax_category,
    )


def _addons(db: ScopedSession, subscription: Subscription, options: list[PlanOption], taxes: dict[str, Treatment]) -> list[AddonChoice]:
    """The add-ons of these plans. Add-ons are taxed like their plan; here like the current plan."""
    held = {addon["addon_id"]: addon for addon in subscription.addons}
    ids = {addon_id for option in options if not option.usage_based for addon_id in option.addons} | set(held)
    if not ids:
        return []
    rows = db.scalars(
        select(Addon)
        .order_by(Addon.name, Addon.id)
        .where(Addon.business_id == subscription.business_id, Addon.id.in_(sorted(ids)), Addon.currency == subscription.currency)
    )
    out, stay = [], subscription.collected_by in FREE_ADDONS
    for row in rows:
        current = held.get(row.id)
        if row.archived_at and current is None:
            continue
        unit = int(current["unit_minor"]) if current else row.price_minor
        tax = taxes.get(subscription.product_id) or next(iter(taxes.values()))
        price = prices.line("", 1, unit, tax, subscription.tax_inclusive).gross_minor
        out.append(
            AddonChoice(
                row.id,
                row.name,
                price,
                int(current["quantity"]) if current else 0,
                tuple(option.product_id for option in options if row.id in option.addons or (current and (option.is_current or stay))),
            )
        )
    return out
