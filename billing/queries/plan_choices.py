"""What a plan change page shows: the plans with their prices, add-ons, and the quote that was made. Nothing here writes."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, select

from billing import plans, policy, pricing
from billing.catalogue import Addon, Product
from billing.commands import plan_quote
from billing.payments import Payment, PaymentMethod
from billing.plans import Option
from billing.quotes import Quote
from billing.subscriptions import Subscription
from billing.taxes import Treatment
from core.db import ScopedSession
from core.errors import NotFound


@dataclass(frozen=True)
class Choice:
    """A plan with the price of one for one period, tax included, in minor units. `waits`: it begins at the next billing date."""

    option: Option
    price_minor: int
    waits: bool


@dataclass(frozen=True)
class AddonChoice:
    """`price_minor`: of one, tax included. `held`: how many there are now. `product_ids`: the plans that have it."""

    id: str
    name: str
    price_minor: int
    held: int
    product_ids: tuple[str, ...]


@dataclass(frozen=True)
class Choices:
    plans: list[Choice]
    addons: list[AddonChoice]
    has_quantity: bool


@dataclass(frozen=True)
class Shown:
    """A quote with what its slip names: both plans, and the payment that was made of it."""

    quote: Quote
    name: str
    interval: str
    interval_count: int
    payment: Payment | None
    method: PaymentMethod | None

    @property
    def is_settled(self) -> bool:
        """It was used, and something came of it."""
        return self.quote.used_at is not None and self.quote.outcome != "declined"


def choices(db: ScopedSession, subscription_id: str) -> Choices:
    """Raises NotFound, and Conflict or Forbidden where the plan cannot change now (see `plan_quote.check`)."""
    subscription = plan_quote.load(db, subscription_id)
    business = plan_quote.check(db, subscription, db.scope.is_customer)
    options = plans.options_for(db, subscription) or [_present(db, subscription)]
    taxes = {one.product_id: pricing.rate_of(business, subscription.billing, subscription.tax_id, one.tax_category) for one in options}
    waits = {
        kind: plans.default(db, business, subscription, f"effective_on_{kind}") == "next_billing_date"
        for kind in ("upgrade", "downgrade")
    }
    offered = [
        Choice(one, pricing.line("", 1, one.unit_minor, taxes[one.product_id], one.tax_inclusive).gross_minor,
               waits["downgrade" if one.direction == "downgrade" else "upgrade"])
        for one in options
    ]
    several = bool(policy.setting(business, "multiple_subscriptions")) or subscription.quantity > 1
    return Choices(offered, _addons(db, subscription, options, taxes), several and not all(one.usage_based for one in options))


def shown(db: ScopedSession, subscription_id: str, quote_id: str) -> Shown:
    """The quote and its outcome. NotFound for another subscription's."""
    row = db.execute(
        select(Quote, Product.name, Product.interval, Product.interval_count, Payment, PaymentMethod)
        .join(Product, and_(Product.business_id == Quote.business_id, Product.id == Quote.product_id))
        .outerjoin(Payment, and_(Payment.business_id == Quote.business_id, Payment.id == Quote.payment_id))
        .outerjoin(PaymentMethod, and_(PaymentMethod.business_id == Quote.business_id, PaymentMethod.id == Quote.payment_method_id,
                                       PaymentMethod.removed_at.is_(None)))
        .where(Quote.id == quote_id, Quote.subscription_id == subscription_id)
    ).first()
    if row is None:
        raise NotFound(sentence="There is no such quote.")
    return Shown(row[0], row[1], row[2] or "Month", row[3], row[4], row[5])


def _present(db: ScopedSession, subscription: Subscription) -> Option:
    """The plan one has, where the business sells no other beside it."""
    product = db.scalar(select(Product).where(Product.business_id == subscription.business_id, Product.id == subscription.product_id))
    assert product is not None
    return Option(product.id, product.name, product.description, product.image, product.currency, subscription.unit_minor,
                  subscription.tax_inclusive, subscription.interval, subscription.interval_count, "same", True,
                  product.price_type == "usage_based_price", tuple(product.addons), tax_category=product.tax_category)


def _addons(db: ScopedSession, subscription: Subscription, options: list[Option], taxes: dict[str, Treatment]) -> list[AddonChoice]:
    """Add-ons are taxed as their plan is: here as the present one."""
    held = {one["addon_id"]: one for one in subscription.addons}
    ids = {addon_id for one in options if not one.usage_based for addon_id in one.addons} | set(held)
    if not ids:
        return []
    rows = db.scalars(
        select(Addon).order_by(Addon.name, Addon.id)
        .where(Addon.business_id == subscription.business_id, Addon.id.in_(sorted(ids)), Addon.currency == subscription.currency))
    out = []
    for row in rows:
        mine = held.get(row.id)
        if row.archived_at and mine is None:
            continue
        unit = int(mine["unit_minor"]) if mine else row.price_minor
        tax = taxes.get(subscription.product_id) or next(iter(taxes.values()))
        price = pricing.line("", 1, unit, tax, subscription.tax_inclusive).gross_minor
        out.append(AddonChoice(row.id, row.name, price, int(mine["quantity"]) if mine else 0,
                               tuple(one.product_id for one in options if row.id in one.addons or (one.is_current and mine))))
    return out
