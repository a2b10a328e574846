"""The plans a subscription may change to, and the settings that apply: request, then collection, then business, then system."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, NamedTuple

from sqlalchemy import and_, select

from billing.external.port import FREE_ADDONS, NO_USAGE_PLANS
from billing.model import policy
from billing.model.catalogue import USAGE_PRICING_REFUSAL, Addon, Collection, CollectionGroup, CollectionItem, Product
from billing.model.parties import Business
from billing.model.subscriptions import Subscription
from billing.pricing.tax_setup import hosted_account
from core.db import ScopedSession
from core.errors import N_, Invalid, NotFound

Direction = Literal["upgrade", "downgrade", "same"]
_DAYS = {"Day": Fraction(1), "Week": Fraction(7), "Month": Fraction(1461, 48), "Year": Fraction(1461, 4)}


@dataclass(frozen=True)
class PlanOption:
    """A plan the subscription may change to. `unit_minor`: the price of one, before tax unless `tax_inclusive`."""

    product_id: str
    name: str
    description: str
    image: str | None
    currency: str
    unit_minor: int
    tax_inclusive: bool
    interval: str
    interval_count: int
    direction: Direction
    is_current: bool
    usage_based: bool
    addons: tuple[str, ...] = ()
    group: str | None = None  # the name of its group in the collection
    tax_category: str | None = None


class PlanSelection(NamedTuple):
    """The plan chosen for a subscription. `addons` [{addon_id, quantity}]; None keeps or drops them with the plan."""

    subscription_id: str
    product_id: str
    quantity: int | None = None
    addons: Sequence[dict[str, Any]] | None = None


@dataclass(frozen=True)
class Wanted:
    """A requested plan with its prices. `unit_minor`: the price of one; add-ons [{addon_id, name, quantity, unit_minor}]."""

    product: Product
    quantity: int
    unit_minor: int
    addons: tuple[dict[str, Any], ...]

    @property
    def price_minor(self) -> int:
        return _price(self.unit_minor, self.quantity, self.addons)


def options_for(db: ScopedSession, subscription: Subscription) -> list[PlanOption]:
    """Enabled products of the same collection with the current one, in the collection's order. Empty without a collection."""
    place = _place(db, subscription)
    if place is None:
        return []
    same = CollectionItem.business_id == subscription.business_id
    rows = db.execute(
        select(Product, and_(CollectionItem.enabled, CollectionGroup.enabled), CollectionGroup.name)
        .join(CollectionItem, (CollectionItem.business_id == Product.business_id) & (CollectionItem.product_id == Product.id))
        .join(CollectionGroup, (CollectionGroup.business_id == Product.business_id) & (CollectionGroup.id == CollectionItem.group_id))
        .where(
            same,
            CollectionItem.collection_id == place.collection_id,
            Product.archived_at.is_(None),
            Product.price_type != "one_time_price",
            Product.currency == subscription.currency,
        )
        .order_by(CollectionGroup.position, CollectionItem.position, Product.id)
    ).all()
    out = []
    for product, enabled, group in rows:
        current = product.id == subscription.product_id
        if not current and (not enabled or _is_unmetered_here(subscription, product)):
            continue
        unit = subscription.unit_minor if current else product.price_minor
        wanted = Wanted(product, subscription.quantity, unit, tuple(subscription.addons) if current else ())
        out.append(
            PlanOption(
                product.id,
                product.name,
                product.description,
                product.image,
                product.currency,
                unit,
                product.tax_inclusive,
                product.interval or subscription.interval,
                product.interval_count,
                direction(subscription, wanted),
                current,
                product.price_type == "usage_based_price",
                tuple(product.addons),
                group,
                product.tax_category,
            )
        )
    return out


def direction(subscription: Subscription, wanted: Wanted) -> Direction:
    """Compare the prices per day."""
    was = _per_day(
        _price(subscription.unit_minor, subscription.quantity, subscription.addons), subscription.interval, subscription.interval_count
    )
    will = _per_day(wanted.price_minor, wanted.product.interval or subscription.interval, wanted.product.interval_count)
    return "upgrade" if will > was else "downgrade" if will < was else "same"


def default(db: ScopedSession, business: Business, subscription: Subscription, name: str) -> str:
    """A setting (effective_on_…, proration_on_…, on_payment_failure): of the collection, else of the business, else the system's.

    While a hosted calculator decides the tax, a plan change takes effect at the next billing date, where the renewal is calculated.
    """
    if name.startswith("effective_on_") and subscription.collected_by == "us" and hosted_account(business) is not None:
        return "next_billing_date"
    place = _place(db, subscription)
    collection = (
        db.scalar(select(Collection).where(Collection.business_id == subscription.business_id, Collection.id == place.collection_id))
        if place
        else None
    )
    return str((getattr(collection, name) if collection is not None else None) or policy.setting(business, name))


def wanted(
    db: ScopedSession,
    subscription: Subscription,
    product_id: str,
    quantity: int | None,
    addons: Sequence[dict[str, Any]] | None,
    *,
    anywhere: bool = False,
) -> Wanted:
    """Check and price a requested plan. A plan or add-on the subscription already has keeps its agreed price.

    `anywhere`: also allow products outside the collection, for the business. Raises NotFound (no such plan here), Invalid.
    """
    options = {item.product_id: item for item in options_for(db, subscription)}
    if product_id not in options and product_id != subscription.product_id and not anywhere:
        raise NotFound(sentence=N_("This subscription cannot change to this plan."))
    product = db.scalar(select(Product).where(Product.business_id == subscription.business_id, Product.id == product_id))
    if product is None or product.archived_at is not None:
        raise NotFound(sentence=N_("This plan is no longer available."))
    if product.price_type == "one_time_price" or product.currency != subscription.currency:
        problem = f"A plan must be a recurring product in {subscription.currency}."
        raise Invalid(sentence=f"product_id: {problem}", fields={"product_id": problem})
    same = product.id == subscription.product_id
    if not same and _is_unmetered_here(subscription, product):
        raise Invalid("UNSUPPORTED_ACTION", USAGE_PRICING_REFUSAL, fields={"product_id": USAGE_PRICING_REFUSAL})
    count = subscription.quantity if quantity is None else quantity
    usage = product.price_type == "usage_based_price"
    if not 1 <= count <= 100_000 or (usage and count != 1):
        raise Invalid(
            "INVALID_QUANTITY",
            N_("The quantity must be 1 or more. A usage-based plan allows only 1."),
            fields={"quantity": N_("This quantity is not possible for this plan.")},
        )
    if addons is None:
        chosen = tuple(subscription.addons) if same or subscription.collected_by in FREE_ADDONS else ()
    else:
        chosen = _chosen_addons(db, subscription, product, addons)
    if usage and chosen:
        raise Invalid(
            "ADDONS_IN_USAGE_BASED_BILLING_NOT_SUPPORTED",
            N_("A usage-based plan cannot have add-ons."),
            fields={"addons": N_("Not available for this plan.")},
        )
    return Wanted(product, count, subscription.unit_minor if same else product.price_minor, chosen)


def _is_unmetered_here(subscription: Subscription, product: Product) -> bool:
    """Whether the product is usage-based, and the subscription cannot change to it. Some external billing systems allow that."""
    return product.price_type == "usage_based_price" and subscription.collected_by in NO_USAGE_PLANS


def _chosen_addons(
    db: ScopedSession, subscription: Subscription, product: Product, addons: Sequence[dict[str, Any]]
) -> tuple[dict[str, Any], ...]:
    ids = [str(addon["addon_id"]) for addon in addons]
    if len(set(ids)) != len(ids):
        raise Invalid("DUPLICATE_ADDON_IDS_IN_REQUEST", N_("An add-on is listed twice."), fields={"addons": N_("Listed twice.")})
    agreed = {addon["addon_id"]: addon["unit_minor"] for addon in subscription.addons}
    found = select(Addon).where(Addon.business_id == subscription.business_id, Addon.id.in_(ids), Addon.currency == subscription.currency)
    rows = {entry.id: entry for entry in db.scalars(found)} if ids else {}
    out = []
    for addon in addons:
        row, count = rows.get(addon["addon_id"]), int(addon.get("quantity", 1))
        if row is None or (product.addons and row.id not in product.addons) or (row.archived_at and row.id not in agreed):
            raise NotFound("MISSING_ADDON_IDS", N_("This add-on is not available for this plan."))
        if count < 1:
            raise Invalid("INVALID_QUANTITY", N_("The quantity must be 1 or more."), fields={"addons": N_("Must be 1 or more.")})
        out.append({"addon_id": row.id, "name": row.name, "quantity": count, "unit_minor": agreed.get(row.id, row.price_minor)})
    return tuple(out)


def _place(db: ScopedSession, subscription: Subscription) -> CollectionItem | None:
    return db.scalar(
        select(CollectionItem)
        .join(Collection, (Collection.business_id == CollectionItem.business_id) & (Collection.id == CollectionItem.collection_id))
        .where(
            CollectionItem.business_id == subscription.business_id,
            CollectionItem.product_id == subscription.product_id,
            Collection.archived_at.is_(None),
        )
    )


def _price(unit_minor: int, quantity: int, addons: Sequence[dict[str, Any]]) -> int:
    return unit_minor * quantity + sum(int(addon["unit_minor"]) * int(addon["quantity"]) for addon in addons)


def _per_day(minor: int, interval: str, count: int) -> Fraction:
    return Fraction(minor) / (_DAYS[interval] * count)
