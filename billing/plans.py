"""The plans a subscription may move to, and which of the defaults apply: request, then collection, then business, then system."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from sqlalchemy import and_, select

from billing import policy
from billing.catalogue import Addon, Collection, CollectionGroup, CollectionItem, Product
from billing.parties import Business
from billing.subscriptions import Subscription
from core.db import ScopedSession
from core.errors import Invalid, NotFound

Direction = Literal["upgrade", "downgrade", "same"]
BY_USE = "This is sold by use. Use is not counted here, so it cannot be billed."
_DAYS = {"Day": Fraction(1), "Week": Fraction(7), "Month": Fraction(1461, 48), "Year": Fraction(1461, 4)}


@dataclass(frozen=True)
class Option:
    """One plan that can be had instead. `unit_minor` is the price of one, before tax unless `tax_inclusive`."""

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
    group: str | None = None  # the name that stands above it and its like
    tax_category: str | None = None


@dataclass(frozen=True)
class Wanted:
    """A plan asked for: product, quantity, price of one, add-ons [{addon_id, name, quantity, unit_minor}]."""

    product: Product
    quantity: int
    unit_minor: int
    addons: tuple[dict[str, Any], ...]

    @property
    def price_minor(self) -> int:
        return _price(self.unit_minor, self.quantity, self.addons)


def options_for(db: ScopedSession, subscription: Subscription) -> list[Option]:
    """Enabled products of the same collection, the present one included, in the collection's order. Empty without a collection."""
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
        if not current and (not enabled or _is_uncounted(subscription, product)):
            continue
        unit = subscription.unit_minor if current else product.price_minor
        wanted = Wanted(product, subscription.quantity, unit, tuple(subscription.addons) if current else ())
        out.append(
            Option(
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
    """By price, normalised to a day."""
    was = _per_day(
        _price(subscription.unit_minor, subscription.quantity, subscription.addons), subscription.interval, subscription.interval_count
    )
    will = _per_day(wanted.price_minor, wanted.product.interval or subscription.interval, wanted.product.interval_count)
    return "upgrade" if will > was else "downgrade" if will < was else "same"


def default(db: ScopedSession, business: Business, subscription: Subscription, name: str) -> str:
    """A setting (effective_on_…, proration_on_…, on_payment_failure) of the subscription's collection, else the business's, else ours."""
    place = _place(db, subscription)
    collection = (
        db.scalar(select(Collection).where(Collection.business_id == subscription.business_id, Collection.id == place.collection_id))
        if place
        else None
    )
    return str((getattr(collection, name) if collection is not None else None) or policy.setting(business, name))


def wanted(
    db: ScopedSession, subscription: Subscription, product_id: str, quantity: int | None, addons: Sequence[dict[str, Any]] | None,
    *, anywhere: bool = False,
) -> Wanted:
    """The plan asked for, priced: what is kept keeps the price agreed. `anywhere`: also outside of the collection, for the business.

    Raises NotFound (no such plan here), Invalid.
    """
    options = {one.product_id: one for one in options_for(db, subscription)}
    if product_id not in options and product_id != subscription.product_id and not anywhere:
        raise NotFound(sentence="This plan cannot be had instead of the present one.")
    product = db.scalar(select(Product).where(Product.business_id == subscription.business_id, Product.id == product_id))
    if product is None or product.archived_at is not None:
        raise NotFound(sentence="There is no such plan any more.")
    if product.price_type == "one_time_price" or product.currency != subscription.currency:
        words = f"A plan is a product that recurs, in {subscription.currency}."
        raise Invalid(sentence=f"product_id: {words}", fields={"product_id": words})
    same = product.id == subscription.product_id
    if not same and _is_uncounted(subscription, product):
        raise Invalid("UNSUPPORTED_ACTION", BY_USE, fields={"product_id": BY_USE})
    count = subscription.quantity if quantity is None else quantity
    usage = product.price_type == "usage_based_price"
    if not 1 <= count <= 100_000 or (usage and count != 1):
        raise Invalid(
            "INVALID_QUANTITY", "The quantity is 1 or more; 1 where use is counted.", fields={"quantity": "Not a quantity for this plan."}
        )
    if addons is None:
        chosen = tuple(subscription.addons) if same else ()
    else:
        chosen = _chosen(db, subscription, product, addons)
    if usage and chosen:
        raise Invalid(
            "ADDONS_IN_USAGE_BASED_BILLING_NOT_SUPPORTED", "A plan that counts use has no add-ons.", fields={"addons": "None here."}
        )
    return Wanted(product, count, subscription.unit_minor if same else product.price_minor, chosen)


def _is_uncounted(subscription: Subscription, product: Product) -> bool:
    """Use is not counted here. Another system, which collects the subscription, may count it."""
    return product.price_type == "usage_based_price" and subscription.collected_by == "us"


def _chosen(
    db: ScopedSession, subscription: Subscription, product: Product, addons: Sequence[dict[str, Any]]
) -> tuple[dict[str, Any], ...]:
    ids = [str(one["addon_id"]) for one in addons]
    if len(set(ids)) != len(ids):
        raise Invalid("DUPLICATE_ADDON_IDS_IN_REQUEST", "An add-on is named twice.", fields={"addons": "Named twice."})
    held = {one["addon_id"]: one["unit_minor"] for one in subscription.addons}
    found = select(Addon).where(Addon.business_id == subscription.business_id, Addon.id.in_(ids), Addon.currency == subscription.currency)
    rows = {one.id: one for one in db.scalars(found)} if ids else {}
    out = []
    for one in addons:
        row, count = rows.get(one["addon_id"]), int(one.get("quantity", 1))
        if row is None or (product.addons and row.id not in product.addons) or (row.archived_at and row.id not in held):
            raise NotFound("MISSING_ADDON_IDS", "There is no such add-on for this plan.")
        if count < 1:
            raise Invalid("INVALID_QUANTITY", "The quantity is 1 or more.", fields={"addons": "1 or more of each."})
        out.append({"addon_id": row.id, "name": row.name, "quantity": count, "unit_minor": held.get(row.id, row.price_minor)})
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
    return unit_minor * quantity + sum(int(one["unit_minor"]) * int(one["quantity"]) for one in addons)


def _per_day(minor: int, interval: str, count: int) -> Fraction:
    return Fraction(minor) / (_DAYS[interval] * count)
