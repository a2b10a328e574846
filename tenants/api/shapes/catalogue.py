"""Add-ons, product collections with their groups, and discounts (reference §2.5)."""

from __future__ import annotations

from typing import Literal

from billing.catalogue.api_queries import Grouped, ItemWithProduct
from billing.model.catalogue import Addon, Collection
from billing.model.discounts import Discount
from tenants.api.shapes import Json, Shape, Stamp
from tenants.api.shapes.products import TaxCategory, image_url, price_shape

When = Literal["immediately", "next_billing_date"]
Mode = Literal["prorated_immediately", "full_immediately", "difference_immediately", "do_not_bill", "prorated_immediately_keep_cycle"]
Failure = Literal["prevent_change", "apply_change"]


class AddonShape(Shape):
    id: str
    business_id: str
    created_at: Stamp
    currency: str
    name: str
    price: int
    tax_category: TaxCategory
    updated_at: Stamp
    description: str | None
    image: str | None

    @classmethod
    def of(cls, row: Addon) -> AddonShape:
        return cls.model_validate({
            "id": row.id, "business_id": row.business_id, "created_at": row.created_at, "currency": row.currency, "name": row.name,
            "price": row.price_minor, "tax_category": row.tax_category, "updated_at": row.updated_at,
            "description": row.description or None, "image": image_url(row.image),
        })  # fmt: skip


class ItemShape(Shape):
    """A product in a group of a collection. `status` says whether customers can switch to it."""

    id: str
    addons_count: int
    files_count: int = 0
    has_credit_entitlements: bool = False
    is_recurring: bool
    license_key_enabled: bool
    meters_count: int
    product_id: str
    status: bool
    currency: str
    description: str | None
    name: str
    price: int
    price_detail: Json
    tax_category: TaxCategory
    tax_inclusive: bool

    @classmethod
    def of(cls, entry: ItemWithProduct) -> ItemShape:
        item, row = entry
        return cls.model_validate({
            "id": item.id, "addons_count": len(row.addons), "is_recurring": row.is_recurring,
            "license_key_enabled": row.license_key_enabled, "meters_count": len(row.meters), "product_id": row.id, "status": item.enabled,
            "currency": row.currency, "description": row.description or None, "name": row.name, "price": row.price_minor,
            "price_detail": price_shape(row), "tax_category": row.tax_category, "tax_inclusive": row.tax_inclusive,
        })  # fmt: skip


class GroupShape(Shape):
    group_id: str
    products: list[ItemShape]
    status: bool
    group_name: str | None

    @classmethod
    def of(cls, grouped: Grouped) -> GroupShape:
        products = [ItemShape.of(entry) for entry in grouped.items]
        return cls(group_id=grouped.group.id, products=products, status=grouped.group.enabled, group_name=grouped.group.name)


class CollectionItemShape(Shape):
    """A product collection in a list."""

    id: str
    created_at: Stamp
    name: str
    products_count: int
    updated_at: Stamp
    description: str | None
    image: str | None

    @classmethod
    def of(cls, row: Collection, count: int) -> CollectionItemShape:
        return cls(id=row.id, created_at=row.created_at, name=row.name, products_count=count, updated_at=row.updated_at,
                   description=row.description or None, image=image_url(row.image))  # fmt: skip


class CollectionShape(Shape):
    """A product collection. A plan-change setting that is null is inherited from the business."""

    id: str
    brand_id: str
    created_at: Stamp
    groups: list[GroupShape]
    name: str
    updated_at: Stamp
    description: str | None
    image: str | None
    effective_at_on_upgrade: When | None
    effective_at_on_downgrade: When | None
    proration_billing_mode_on_upgrade: Mode | None
    proration_billing_mode_on_downgrade: Mode | None
    on_payment_failure: Failure | None

    @classmethod
    def of(cls, row: Collection, groups: list[Grouped]) -> CollectionShape:
        return cls.model_validate({
            "id": row.id, "brand_id": row.brand_id, "created_at": row.created_at, "groups": [GroupShape.of(group) for group in groups],
            "name": row.name, "updated_at": row.updated_at, "description": row.description or None,
            "image": image_url(row.image), "effective_at_on_upgrade": row.effective_on_upgrade,
            "effective_at_on_downgrade": row.effective_on_downgrade, "proration_billing_mode_on_upgrade": row.proration_on_upgrade,
            "proration_billing_mode_on_downgrade": row.proration_on_downgrade, "on_payment_failure": row.on_payment_failure,
        })  # fmt: skip


class Unarchived(Shape):
    collection_id: str
    excluded_product_ids: list[str]
    message: str


class DiscountShape(Shape):
    amount: int
    business_id: str
    code: str
    created_at: Stamp
    customer_eligibility: Literal["any", "first_time", "existing"]
    discount_id: str
    metadata: Json
    preserve_on_plan_change: bool
    restricted_to: list[str]
    times_used: int
    type: Literal["flat", "percentage"]
    currency_options: list[Json]
    expires_at: Stamp | None
    name: str | None
    per_customer_usage_limit: int | None
    starts_at: Stamp | None
    subscription_cycles: int | None
    usage_limit: int | None

    @classmethod
    def of(cls, row: Discount) -> DiscountShape:
        return cls.model_validate({
            "amount": row.amount, "business_id": row.business_id, "code": row.code, "created_at": row.created_at,
            "customer_eligibility": row.eligibility, "discount_id": row.id, "metadata": row.meta or {},
            "preserve_on_plan_change": row.keeps, "restricted_to": row.restricted_to, "times_used": row.times_used, "type": row.kind,
            "currency_options": row.currencies, "expires_at": row.expires_at, "name": row.name,
            "per_customer_usage_limit": row.per_customer_limit, "starts_at": row.starts_at, "subscription_cycles": row.cycles,
            "usage_limit": row.usage_limit,
        })  # fmt: skip
