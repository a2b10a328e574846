"""What a business sells (reference §2.5): add-ons, products with their price, collections of plans."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from billing import bounds
from billing.loaded import Record, Reference
from tenants.loading.fields import (
    Count,
    Currency,
    Id,
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
    Told,
    Words,
    within,
)

Effective = Literal["immediately", "next_billing_date"]
Proration = Literal["prorated_immediately", "full_immediately", "difference_immediately", "do_not_bill", "prorated_immediately_keep_cycle"]


MOST_ADDONS = 100  # that one product may have; each is asked for by itself
MOST_GROUPS, MOST_PRODUCTS = 50, 200  # of a collection; of a group


class Addon(Told):
    id: Id
    name: Name
    price: Minor
    currency: Currency
    description: Text | None = None
    tax_category: Words = "digital_products"
    updated_at: Instant | None = None
    archived_at: Instant | None = None

    @model_validator(mode="after")
    def _fits(self) -> Addon:
        within(self.price, self.currency, bounds.price)
        return self


class Price(BaseModel):
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
    def _fits(self) -> Price:
        bounds.period(self.payment_frequency_interval, self.payment_frequency_count)
        bounds.period(self.subscription_period_interval, self.subscription_period_count)
        within(self.price, self.currency, bounds.price)
        within(self.fixed_price, self.currency, bounds.price)
        return self


class Span(BaseModel):
    count: Count
    interval: Interval


class Product(Told):
    product_id: Id
    name: Name
    price: Price
    description: Text | None = None
    tax_category: Words = "digital_products"
    addons: Annotated[list[Id], Field(max_length=MOST_ADDONS)] | None = None
    license_key_enabled: bool = False
    license_key_activations_limit: Limit | None = None
    license_key_duration: Span | None = None
    license_key_activation_message: Text | None = None
    digital_product_delivery: Stored | None = None
    metadata: Metadata = {}
    updated_at: Instant | None = None
    archived_at: Instant | None = None


class Place(BaseModel):
    product_id: Id
    status: bool = True


class Group(BaseModel):
    group_id: Id | None = None
    group_name: Words | None = None
    status: bool = True
    products: Annotated[list[Place], Field(max_length=MOST_PRODUCTS)] = []


class Collection(Told):
    id: Id
    name: Name
    description: Text | None = None
    groups: Annotated[list[Group], Field(max_length=MOST_GROUPS)] = []
    effective_at_on_upgrade: Effective | None = None
    effective_at_on_downgrade: Effective | None = None
    proration_billing_mode_on_upgrade: Proration | None = None
    proration_billing_mode_on_downgrade: Proration | None = None
    on_payment_failure: Literal["prevent_change", "apply_change"] | None = None
    updated_at: Instant | None = None
    archived_at: Instant | None = None


def addon(data: Json) -> Record:
    told = Addon.model_validate(data)
    return Record("addon", told.id, {
        "name": told.name, "price_minor": told.price, "currency": told.currency, "description": told.description or "",
        "tax_category": told.tax_category, "archived_at": told.archived_at, "created_at": told.created_at, "updated_at": told.updated_at,
    })  # fmt: skip


def product(data: Json) -> Record:
    told = Product.model_validate(data)
    price, recurs = told.price, told.price.type != "one_time_price"
    if recurs and price.payment_frequency_interval is None:
        price = price.model_copy(update={"payment_frequency_interval": "Month"})
    download = told.digital_product_delivery
    return Record("product", told.product_id, {
        "name": told.name, "description": told.description or "", "price_type": price.type, "currency": price.currency,
        "price_minor": price.fixed_price if price.type == "usage_based_price" else price.price, "tax_inclusive": bool(price.tax_inclusive),
        "tax_category": told.tax_category, "interval": price.payment_frequency_interval if recurs else None,
        "interval_count": price.payment_frequency_count,
        "term_interval": (price.subscription_period_interval or "Year") if recurs else None, "term_count": price.subscription_period_count,
        "trial_days": price.trial_period_days or 0, "meters": price.meters,
        "addons": told.addons or [], "license_key_enabled": told.license_key_enabled,
        "license_key_limit": told.license_key_activations_limit,
        "license_key_duration": told.license_key_duration.model_dump() if told.license_key_duration else None,
        "license_key_message": told.license_key_activation_message,
        "download": {part: download.get(part) for part in ("external_url", "instructions") if isinstance(download.get(part), str)}
        if download else None,
        "meta": told.metadata, "archived_at": told.archived_at, "created_at": told.created_at, "updated_at": told.updated_at,
    }, tuple(Reference(f"addons.{place}", "addon", one) for place, one in enumerate(told.addons or [])))  # fmt: skip


def collection(data: Json) -> Record:
    """A product stands in one collection: where it stood in another here, it moves."""
    told = Collection.model_validate(data)
    refs = [Reference(f"groups.{n}.products.{m}.product_id", "product", one.product_id)
            for n, group in enumerate(told.groups) for m, one in enumerate(group.products)]
    groups = [{"id": group.group_id or f"{told.id}.{n}", "name": group.group_name, "enabled": group.status,
               "products": [(one.product_id, one.status) for one in group.products]} for n, group in enumerate(told.groups)]
    return Record("collection", told.id, {
        "name": told.name, "description": told.description or "", "effective_on_upgrade": told.effective_at_on_upgrade,
        "effective_on_downgrade": told.effective_at_on_downgrade, "proration_on_upgrade": told.proration_billing_mode_on_upgrade,
        "proration_on_downgrade": told.proration_billing_mode_on_downgrade, "on_payment_failure": told.on_payment_failure,
        "archived_at": told.archived_at, "created_at": told.created_at, "updated_at": told.updated_at,
    }, tuple(refs), more={"groups": groups})  # fmt: skip
