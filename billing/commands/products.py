"""The catalogue: products, add-ons, collections."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from billing.calendar import INTERVALS
from billing.catalogue import Addon, Collection, CollectionItem, Product
from billing.commands.businesses import check_currency
from core import clock
from core.db import ScopedSession
from core.errors import Invalid, NotFound
from core.ids import new_id
from core.outbox import emit

PRICE_TYPES = ("one_time_price", "recurring_price", "usage_based_price")


def create_product(
    db: ScopedSession, business_id: str, *, name: str, price: dict[str, Any], tax_category: str = "digital_products",
    description: str = "", addons: Sequence[str] = (), license_key_enabled: bool = False,
    license_key_activations_limit: int | None = None, license_key_duration: dict[str, Any] | None = None,
    license_key_activation_message: str | None = None, download: dict[str, Any] | None = None, image: str | None = None,
    metadata: dict[str, Any] | None = None, brand_id: str | None = None,
) -> Product:
    """`price` in the contract's shape (§2.5). Raises Invalid."""
    kind = price.get("type")
    if kind not in PRICE_TYPES:
        raise Invalid(sentence="A price is one-time, recurring or usage-based.", fields={"price": "Unknown type of price."})
    check_currency(price["currency"])
    amount = price.get("fixed_price", 0) if kind == "usage_based_price" else price.get("price", 0)
    if not isinstance(amount, int) or amount < 0:
        raise Invalid(sentence="A price is a whole number of minor units, 0 or more.", fields={"price": "Not an amount."})
    if kind != "one_time_price" and price.get("payment_frequency_interval") not in INTERVALS:
        raise Invalid(sentence="A recurring price needs an interval.", fields={"price": "Day, Week, Month or Year."})
    at = clock.now()
    product = Product(
        business_id=business_id, id=new_id("pdt"), brand_id=brand_id or business_id, name=name, description=description, price_type=kind,
        currency=price["currency"], price_minor=amount, tax_inclusive=bool(price.get("tax_inclusive")), tax_category=tax_category,
        interval=price.get("payment_frequency_interval"), interval_count=max(1, int(price.get("payment_frequency_count") or 1)),
        term_interval=price.get("subscription_period_interval") or ("Year" if kind != "one_time_price" else None),
        term_count=int(price.get("subscription_period_count") or 10), trial_days=int(price.get("trial_period_days") or 0),
        meters=list(price.get("meters") or []), addons=list(addons), license_key_enabled=license_key_enabled,
        license_key_limit=license_key_activations_limit, license_key_duration=license_key_duration,
        license_key_message=license_key_activation_message, download=download, image=image, meta=metadata or {},
        created_at=at, updated_at=at,
    )
    db.add(product)
    db.flush()
    emit(db, "product.created", business_id=business_id, noun=product.id, data={"name": name})
    return product


def create_addon(
    db: ScopedSession, business_id: str, *, name: str, currency: str, price: int,
    tax_category: str = "digital_products", description: str = "",
) -> Addon:
    check_currency(currency)
    at = clock.now()
    addon = Addon(business_id=business_id, id=new_id("adn"), name=name, description=description, currency=currency, price_minor=price,
                  tax_category=tax_category, created_at=at, updated_at=at)
    db.add(addon)
    db.flush()
    emit(db, "addon.created", business_id=business_id, noun=addon.id, data={"name": name})
    return addon


def create_collection(
    db: ScopedSession, business_id: str, *, name: str, product_ids: Sequence[str], description: str = "", **defaults: str | None
) -> Collection:
    """One nameless group of products, in the order given. Raises NotFound for a product of somebody else."""
    at = clock.now()
    known = set(db.scalars(select(Product.id).where(Product.id.in_(list(product_ids)))))
    if missing := [one for one in product_ids if one not in known]:
        raise NotFound(sentence=f"There is no product {missing[0]}.")
    collection = Collection(business_id=business_id, id=new_id("pdc"), brand_id=business_id, name=name, description=description,
                            created_at=at, updated_at=at, **defaults)
    db.add(collection)
    db.flush()
    group = str(uuid.uuid4())
    for position, product_id in enumerate(product_ids):
        db.add(CollectionItem(business_id=business_id, id=str(uuid.uuid4()), collection_id=collection.id, product_id=product_id,
                              group_id=group, position=position, enabled=True))
    emit(db, "collection.created", business_id=business_id, noun=collection.id, data={"name": name})
    return collection
