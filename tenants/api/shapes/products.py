"""Product and its price (reference §2.5)."""

from __future__ import annotations

from typing import cast

from billing.model.catalogue import Product
from billing.model.catalogue import TaxCategory as TaxCategory
from core.links import external
from tenants.api.shapes import Json, Shape, Stamp


def image_url(path: str | None) -> str | None:
    return external(path) if path else None


def price_shape(row: Product) -> Json:
    """Return the one_time_price, recurring_price or usage_based_price of a product. Amounts are in minor units."""
    common: Json = {
        "type": row.price_type, "currency": row.currency, "discount": 0, "discount_bps": 0, "purchasing_power_parity": False,
        "tax_inclusive": row.tax_inclusive,
    }  # fmt: skip
    if row.price_type == "one_time_price":
        return {**common, "price": row.price_minor, "pay_what_you_want": False, "suggested_price": None}
    billing: Json = {
        "payment_frequency_count": row.interval_count, "payment_frequency_interval": row.interval or "Month",
        "subscription_period_count": row.term_count, "subscription_period_interval": row.term_interval or "Year",
    }  # fmt: skip
    if row.price_type == "usage_based_price":
        return {**common, **billing, "fixed_price": row.price_minor, "meters": row.meters or []}
    return {**common, **billing, "price": row.price_minor, "trial_period_days": row.trial_days}


class ProductShape(Shape):
    brand_id: str
    business_id: str
    created_at: Stamp
    credit_entitlements: list[Json] = []
    entitlements: list[Json] = []
    is_recurring: bool
    license_key_enabled: bool
    metadata: Json
    price: Json
    product_id: str
    tax_category: TaxCategory
    updated_at: Stamp
    addons: list[str]
    description: str | None
    digital_product_delivery: Json | None
    image: str | None
    license_key_activation_message: str | None
    license_key_activations_limit: int | None
    license_key_duration: Json | None
    name: str
    pricing_mode: str | None = None
    product_collection_id: str | None
    successor_product_id: str | None = None

    @classmethod
    def of(cls, row: Product, collection_id: str | None = None) -> ProductShape:
        download: Json | None = None
        if row.download:
            download = {"files": [], **{part: row.download.get(part) for part in ("external_url", "instructions")}}
        return cls(
            brand_id=row.brand_id, business_id=row.business_id, created_at=row.created_at, is_recurring=row.is_recurring,
            license_key_enabled=row.license_key_enabled, metadata=row.meta or {}, price=price_shape(row), product_id=row.id,
            tax_category=cast(TaxCategory, row.tax_category),
            updated_at=row.updated_at, addons=row.addons or [], description=row.description or None,
            digital_product_delivery=download, image=image_url(row.image), license_key_activation_message=row.license_key_message,
            license_key_activations_limit=row.license_key_limit, license_key_duration=row.license_key_duration, name=row.name,
            product_collection_id=collection_id, successor_product_id=row.successor_id,
        )  # fmt: skip


class ProductItem(Shape):
    business_id: str
    created_at: Stamp
    entitlements: list[Json] = []
    is_recurring: bool
    metadata: Json
    product_id: str
    tax_category: TaxCategory
    updated_at: Stamp
    currency: str
    description: str | None
    image: str | None
    name: str
    price: int
    price_detail: Json
    pricing_mode: str | None = None
    tax_inclusive: bool

    @classmethod
    def of(cls, row: Product) -> ProductItem:
        return cls(
            business_id=row.business_id, created_at=row.created_at, is_recurring=row.is_recurring, metadata=row.meta or {},
            product_id=row.id, tax_category=cast(TaxCategory, row.tax_category), updated_at=row.updated_at, currency=row.currency,
            description=row.description or None, image=image_url(row.image), name=row.name, price=row.price_minor,
            price_detail=price_shape(row), tax_inclusive=row.tax_inclusive,
        )  # fmt: skip
