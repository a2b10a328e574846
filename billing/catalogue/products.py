"""Create, change and archive products. Each has one price; existing subscribers keep theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from billing.catalogue.addons import create_addon
from billing.catalogue.collections import create_collection
from billing.model.catalogue import PRICE_TYPES, Addon, Product
from billing.pricing.calendar import INTERVALS
from billing.pricing.limits import check_amount, check_currency
from core import clock
from core.db import ScopedSession
from core.errors import N_, Gone, Invalid, NotFound
from core.ids import new_id
from core.outbox import emit

__all__ = ["archive_product", "create_addon", "create_collection", "create_product", "price_of", "unarchive_product", "update_product"]
CHANGEABLE = (
    "name", "description", "tax_category", "addons", "license_key_enabled", "license_key_limit", "license_key_duration",
    "license_key_message", "download", "image", "meta", "successor_id",
)  # fmt: skip
FIXED = ("price_type", "currency", "interval", "interval_count", "tax_inclusive")


def create_product(
    db: ScopedSession,
    business_id: str,
    *,
    name: str,
    price: dict[str, Any],
    tax_category: str = "digital_products",
    description: str = "",
    addons: Sequence[str] = (),
    license_key_enabled: bool = False,
    license_key_activations_limit: int | None = None,
    license_key_duration: dict[str, Any] | None = None,
    license_key_activation_message: str | None = None,
    download: dict[str, Any] | None = None,
    image: str | None = None,
    metadata: dict[str, Any] | None = None,
    brand_id: str | None = None,
    successor_id: str | None = None,
) -> Product:
    """Create a product. `price` in the contract's shape (§2.5). Raises Invalid, NotFound (unknown add-on or successor)."""
    _check_addons(db, addons)
    at = clock.now()
    product = Product(
        business_id=business_id,
        id=new_id("pdt"),
        brand_id=brand_id or business_id,
        name=name,
        description=description,
        tax_category=tax_category,
        addons=list(addons),
        license_key_enabled=license_key_enabled,
        license_key_limit=license_key_activations_limit,
        license_key_duration=license_key_duration,
        license_key_message=license_key_activation_message,
        download=download,
        image=image,
        meta=metadata or {},
        created_at=at,
        updated_at=at,
        **price_of(price),
    )
    product.successor_id = _checked_successor(db, product, successor_id)
    db.add(product)
    db.flush()
    emit(db, "product.created", business_id=business_id, noun=product.id, data={"name": name})
    return product


def price_of(price: dict[str, Any], current_type: str | None = None) -> dict[str, Any]:
    """Convert a price in the contract's shape to the product's columns. Raises Invalid (field price).

    `current_type`: the product's price type, allowed in any case. An imported product may be usage-based in the other system.
    A new usage-based price is refused, because usage is not metered here and would never be billed in full.
    """
    kind = price.get("type")
    if kind not in (*PRICE_TYPES, current_type):
        raise Invalid(
            "UNSUPPORTED_ACTION" if kind == "usage_based_price" else None,
            N_("A price must be one-time or recurring."),
            fields={"price": N_("A price must be one-time or recurring.")},
        )
    check_currency(price["currency"])
    amount = price.get("fixed_price", 0) if kind == "usage_based_price" else price.get("price", 0)
    if not isinstance(amount, int) or amount < 0:
        raise Invalid(
            sentence=N_("A price must be a whole number of minor units, 0 or more."), fields={"price": N_("This is not a valid amount.")}
        )
    check_amount(amount, price["currency"])
    if kind != "one_time_price" and price.get("payment_frequency_interval") not in INTERVALS:
        raise Invalid(sentence=N_("A recurring price needs an interval."), fields={"price": N_("Must be Day, Week, Month or Year.")})
    return {
        "price_type": kind, "currency": price["currency"], "price_minor": amount, "tax_inclusive": bool(price.get("tax_inclusive")),
        "interval": price.get("payment_frequency_interval"), "interval_count": max(1, int(price.get("payment_frequency_count") or 1)),
        "term_interval": price.get("subscription_period_interval") or ("Year" if kind != "one_time_price" else None),
        "term_count": int(price.get("subscription_period_count") or 10), "trial_days": int(price.get("trial_period_days") or 0),
        "meters": list(price.get("meters") or []),
    }  # fmt: skip


def update_product(db: ScopedSession, product_id: str, *, price: dict[str, Any] | None = None, **changes: Any) -> Product:
    """Change columns of `CHANGEABLE`, and the price except for `FIXED`. Raises NotFound, Invalid."""
    if unknown := set(changes) - set(CHANGEABLE):
        raise TypeError(unknown)
    product = load_product(db, product_id)
    _check_addons(db, changes.get("addons") or ())
    _checked_successor(db, product, changes.get("successor_id"))
    if price is not None:
        columns = price_of(price, product.price_type)
        fixed = [name for name in FIXED if columns[name] != getattr(product, name)]
        if fixed:  # subscriptions keep their price and take these columns from the product
            problem = "The type, currency, billing interval and tax inclusion of a price cannot change. Create another product."
            raise Invalid(sentence=f"price: {problem}", fields={"price": problem})
        changes |= columns
    for name, value in changes.items():
        setattr(product, name, value)
    product.updated_at = clock.now()
    emit(db, "product.updated", business_id=product.business_id, noun=product.id, data={"fields": sorted(changes)})
    return product


def archive_product(db: ScopedSession, product_id: str) -> Product:
    """Stop selling a product; existing subscribers keep it. Raises NotFound, Gone (PRODUCT_IS_DELETED) if already archived."""
    product = load_product(db, product_id)
    if product.archived_at is not None:
        raise Gone("PRODUCT_IS_DELETED", N_("This product is already archived."))
    product.archived_at = product.updated_at = clock.now()
    emit(db, "product.archived", business_id=product.business_id, noun=product.id)
    return product


def unarchive_product(db: ScopedSession, product_id: str) -> Product:
    """Sell an archived product again. Idempotent. Raises NotFound."""
    product = load_product(db, product_id)
    if product.archived_at is None:
        return product
    product.archived_at, product.updated_at = None, clock.now()
    emit(db, "product.unarchived", business_id=product.business_id, noun=product.id)
    return product


def load_product(db: ScopedSession, product_id: str) -> Product:
    product = db.scalar(select(Product).where(Product.id == product_id))
    if product is None:
        raise NotFound(sentence=f"There is no product {product_id[:80]}.")
    return product


def _checked_successor(db: ScopedSession, product: Product, successor_id: str | None) -> str | None:
    """Return the successor's id: another recurring product for a recurring one. Raises Invalid (successor_id), NotFound."""
    if successor_id is None:
        return None
    successor = load_product(db, successor_id)
    if successor.id == product.id or not successor.is_recurring or not product.is_recurring:
        problem = N_("The successor must be another recurring product, and only a recurring product can have one.")
        raise Invalid(sentence=problem, fields={"successor_id": problem})
    return successor.id


def _check_addons(db: ScopedSession, addon_ids: Sequence[str]) -> None:
    known = set(db.scalars(select(Addon.id).where(Addon.id.in_(list(addon_ids))))) if addon_ids else set()
    for addon_id in addon_ids:
        if addon_id not in known:
            raise NotFound(sentence=f"There is no add-on {addon_id[:80]}.")
