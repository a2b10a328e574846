"""Products: one price each. What was sold keeps the price it was sold at, whatever happens to its product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from billing.calendar import INTERVALS
from billing.catalogue import Addon, Product
from billing.commands.addons import create_addon
from billing.commands.businesses import check_amount, check_currency
from billing.commands.collections import create_collection
from core import clock
from core.db import ScopedSession
from core.errors import Gone, Invalid, NotFound
from core.ids import new_id
from core.outbox import emit

__all__ = ["archive_product", "create_addon", "create_collection", "create_product", "price_of", "unarchive_product", "update_product"]
PRICE_TYPES = ("one_time_price", "recurring_price")
"""What can be sold. Use is not counted here, so a price by use (`usage_based_price`) would never be billed in full."""
CHANGEABLE = (
    "name", "description", "tax_category", "addons", "license_key_enabled", "license_key_limit", "license_key_duration",
    "license_key_message", "download", "image", "meta",
)  # fmt: skip
FIXED = ("price_type", "currency", "interval", "interval_count", "tax_inclusive")


def create_product(
    db: ScopedSession, business_id: str, *, name: str, price: dict[str, Any], tax_category: str = "digital_products",
    description: str = "", addons: Sequence[str] = (), license_key_enabled: bool = False,
    license_key_activations_limit: int | None = None, license_key_duration: dict[str, Any] | None = None,
    license_key_activation_message: str | None = None, download: dict[str, Any] | None = None, image: str | None = None,
    metadata: dict[str, Any] | None = None, brand_id: str | None = None,
) -> Product:
    """`price` in the contract's shape (§2.5). Raises Invalid; NotFound for an add-on of somebody else."""
    _known(db, addons)
    at = clock.now()
    product = Product(
        business_id=business_id, id=new_id("pdt"), brand_id=brand_id or business_id, name=name, description=description,
        tax_category=tax_category, addons=list(addons), license_key_enabled=license_key_enabled,
        license_key_limit=license_key_activations_limit, license_key_duration=license_key_duration,
        license_key_message=license_key_activation_message, download=download, image=image, meta=metadata or {},
        created_at=at, updated_at=at, **price_of(price),
    )
    db.add(product)
    db.flush()
    emit(db, "product.created", business_id=business_id, noun=product.id, data={"name": name})
    return product


def price_of(price: dict[str, Any], kept: str | None = None) -> dict[str, Any]:
    """A price in the contract's shape as the product's columns. Raises Invalid (field price).

    `kept`: the type that the product has. One that was loaded from another system may be sold by use there.
    """
    kind = price.get("type")
    if kind not in (*PRICE_TYPES, kept):
        raise Invalid("UNSUPPORTED_ACTION" if kind == "usage_based_price" else None, "A price is one-time or recurring.",
                      fields={"price": "A price is one-time or recurring."})
    check_currency(price["currency"])
    amount = price.get("fixed_price", 0) if kind == "usage_based_price" else price.get("price", 0)
    if not isinstance(amount, int) or amount < 0:
        raise Invalid(sentence="A price is a whole number of minor units, 0 or more.", fields={"price": "Not an amount."})
    check_amount(amount, price["currency"])
    if kind != "one_time_price" and price.get("payment_frequency_interval") not in INTERVALS:
        raise Invalid(sentence="A recurring price needs an interval.", fields={"price": "Day, Week, Month or Year."})
    return {
        "price_type": kind, "currency": price["currency"], "price_minor": amount, "tax_inclusive": bool(price.get("tax_inclusive")),
        "interval": price.get("payment_frequency_interval"), "interval_count": max(1, int(price.get("payment_frequency_count") or 1)),
        "term_interval": price.get("subscription_period_interval") or ("Year" if kind != "one_time_price" else None),
        "term_count": int(price.get("subscription_period_count") or 10), "trial_days": int(price.get("trial_period_days") or 0),
        "meters": list(price.get("meters") or []),
    }  # fmt: skip


def update_product(db: ScopedSession, product_id: str, *, price: dict[str, Any] | None = None, **changes: Any) -> Product:
    """Only what is given changes: `CHANGEABLE`, and of the price all but `FIXED`. Raises NotFound, Invalid."""
    if unknown := set(changes) - set(CHANGEABLE):
        raise TypeError(unknown)
    product = load_product(db, product_id)
    _known(db, changes.get("addons") or ())
    if price is not None:
        columns = price_of(price, product.price_type)
        fixed = [name for name in FIXED if columns[name] != getattr(product, name)]
        if fixed:  # a subscription that keeps its price would no longer know what the price is for
            words = "Its kind, currency, rhythm and whether tax is in it stay. Make another product."
            raise Invalid(sentence=f"price: {words}", fields={"price": words})
        changes |= columns
    for name, value in changes.items():
        setattr(product, name, value)
    product.updated_at = clock.now()
    emit(db, "product.updated", business_id=product.business_id, noun=product.id, data={"fields": sorted(changes)})
    return product


def archive_product(db: ScopedSession, product_id: str) -> Product:
    """It is not sold any more; who has it keeps it. Raises NotFound, Gone (PRODUCT_IS_DELETED) the second time."""
    product = load_product(db, product_id)
    if product.archived_at is not None:
        raise Gone("PRODUCT_IS_DELETED", "This product is archived already.")
    product.archived_at = product.updated_at = clock.now()
    emit(db, "product.archived", business_id=product.business_id, noun=product.id)
    return product


def unarchive_product(db: ScopedSession, product_id: str) -> Product:
    """It is sold again; saying so of one that is sold changes nothing. Raises NotFound."""
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


def _known(db: ScopedSession, addon_ids: Sequence[str]) -> None:
    known = set(db.scalars(select(Addon.id).where(Addon.id.in_(list(addon_ids))))) if addon_ids else set()
    for one in addon_ids:
        if one not in known:
            raise NotFound(sentence=f"There is no addon {one[:80]}.")
