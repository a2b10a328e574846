"""Shapes of add-ons, products and product collections for import (reference §2.5)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from billing.model import bounds
from billing.model.catalogue import TaxCategory
from billing.model.imported_records import Record, Reference
from tenants.imports.fields import (
    Count,
    Currency,
    Id,
    ImportedRecord,
    Instant,
    Interval,
    Items,
    Json,
    Limit,
    Metadata,
    Minor,
    Name,
    Stored,
    Text,
    Words,
    within,
)

Effective = Literal["immediately", "next_billing_date"]
Proration = Literal["prorated_immediately", "full_immediately", "difference_immediately", "do_not_bill", "prorated_immediately_keep_cycle"]


MAX_ADDONS = 100  # per product; each is read with its own request
MAX_GROUPS, MAX_PRODUCTS = 50, 200  # groups per collection, products per group


class AddonRecord(ImportedRecord):
    id: Id
    name: Name
    price: Minor
    currency: Currency
    description: Text | None = None
    tax_category: TaxCategory = "digital_products"
    updated_at: Instant | None = None
    archived_at: Instant | None = None

    @model_validator(mode="after")
    def _fits(self) -> AddonRecord:
        within(self.price, self.currency, bounds.price)
        return self


class PriceRecord(BaseModel):
    type: Literal["one_time_price", "recurring_price", "usage_based_price"]
    currency: Currency
    price: Minor = 0
    fixed_price: Minor = 0
    tax_inclusive: bool | None = False
    payment_frequency_interval: Interval | None = None
    payment_frequency_count: Count = 1
    subscription_period_interval: Interval | None = None
    subscription_period_count: Count = 10
    trial_period_days: Annotated[int, Field(ge=0, le=10_000)] | None = 0
    meters: Items = []

    @model_validator(mode="after")
    def _fits(self) -> PriceRecord:
        bounds.period(self.payment_frequency_interval, self.payment_frequency_count)
        bounds.period(self.subscription_period_interval, self.subscription_period_count)
        within(self.price, self.currency, bounds.price)
        within(self.fixed_price, self.currency, bounds.price)
        return self


class Span(BaseModel):
    count: Count
    interval: Interval


class ProductRecord(ImportedRecord):
    product_id: Id
    name: Name
    price: PriceRecord
    description: Text | None = None
    tax_category: TaxCategory = "digital_products"
    addons: Annotated[list[Id], Field(max_length=MAX_ADDONS)] | None = None
    license_key_enabled: bool = False
    license_key_activations_limit: Limit | None = None
    license_key_duration: Span | None = None
    license_key_activation_message: Text | None = None
    digital_product_delivery: Stored | None = None
    metadata: Metadata = {}
    updated_at: Instant | None = None
    archived_at: Instant | None = None


class CollectionItemRecord(BaseModel):
    product_id: Id
    status: bool = True


class GroupRecord(BaseModel):
    group_id: Id | None = None
    group_name: Words | None = None
    status: bool = True
    products: Annotated[list[CollectionItemRecord], Field(max_length=MAX_PRODUCTS)] = []


class CollectionRecord(ImportedRecord):
    id: Id
    name: Name
    description: Text | None = None
    groups: Annotated[list[GroupRecord], Field(max_length=MAX_GROUPS)] = []
    effective_at_on_upgrade: Effective | None = None
    effective_at_on_downgrade: Effective | None = None
    proration_billing_mode_on_upgrade: Proration | None = None
    proration_billing_mode_on_downgrade: Proration | None = None
    on_payment_failure: Literal["prevent_change", "apply_change"] | None = None
    updated_at: Instant | None = None
    archived_at: Instant | None = None


def addon(data: Json) -> Record:
    row = AddonRecord.model_validate(data)
    return Record("addon", row.id, {
        "name": row.name, "price_minor": row.price, "currency": row.currency, "description": row.description or "",
        "tax_category": row.tax_category, "archived_at": row.archived_at, "created_at": row.created_at, "updated_at": row.updated_at,
    })  # fmt: skip


def product(data: Json) -> Record:
    row = ProductRecord.model_validate(data)
    price, recurs = row.price, row.price.type != "one_time_price"
    if recurs and price.payment_frequency_interval is None:
        price = price.model_copy(update={"payment_frequency_interval": "Month"})
    download = row.digital_product_delivery
    return Record("product", row.product_id, {
        "name": row.name, "description": row.description or "", "price_type": price.type, "currency": price.currency,
        "price_minor": price.fixed_price if price.type == "usage_based_price" else price.price, "tax_inclusive": bool(price.tax_inclusive),
        "tax_category": row.tax_category, "interval": price.payment_frequency_interval if recurs else None,
        "interval_count": price.payment_frequency_count,
        "term_interval": (price.subscription_period_interval or "Year") if recurs else None, "term_count": price.subscription_period_count,
        "trial_days": price.trial_period_days or 0, "meters": price.meters,
        "addons": row.addons or [], "license_key_enabled": row.license_key_enabled,
        "license_key_limit": row.license_key_activations_limit,
        "license_key_duration": row.license_key_duration.model_dump() if row.license_key_duration else None,
        "license_key_message": row.license_key_activation_message,
        "download": {part: download.get(part) for part in ("external_url", "instructions") if isinstance(download.get(part), str)}
        if download else None,
        "meta": row.metadata, "archived_at": row.archived_at, "created_at": row.created_at, "updated_at": row.updated_at,
    }, tuple(Reference(f"addons.{place}", "addon", item) for place, item in enumerate(row.addons or [])))  # fmt: skip


def collection(data: Json) -> Record:
    """Return the record of a collection. A product that is in another collection moves to this one."""
    row = CollectionRecord.model_validate(data)
    refs = [
        Reference(f"groups.{n}.products.{m}.product_id", "product", item.product_id)
        for n, group in enumerate(row.groups)
        for m, item in enumerate(group.products)
    ]
    groups = [
        {
            "id": group.group_id or f"{row.id}.{n}",
            "name": group.group_name,
            "enabled": group.status,
            "products": [(product.product_id, product.status) for product in group.products],
        }
        for n, group in enumerate(row.groups)
    ]
    return Record("collection", row.id, {
        "name": row.name, "description": row.description or "", "effective_on_upgrade": row.effective_at_on_upgrade,
        "effective_on_downgrade": row.effective_at_on_downgrade, "proration_on_upgrade": row.proration_billing_mode_on_upgrade,
        "proration_on_downgrade": row.proration_billing_mode_on_downgrade, "on_payment_failure": row.on_payment_failure,
        "archived_at": row.archived_at, "created_at": row.created_at, "updated_at": row.updated_at,
    }, tuple(refs), more={"groups": groups})  # fmt: skip
