"""The products of a business with one price each, its add-ons, and the collections within which plans may change."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from billing.model.provenance import FromAccount
from core.models import Base, Catalogue, within_business

TaxCategory = Literal["digital_products", "saas", "e_book", "edtech", "live_tutoring"]  # contract §2.5
PRICE_TYPES = ("one_time_price", "recurring_price")
USAGE_PRICING_REFUSAL = "Usage-based pricing is not supported, so this cannot be billed."


class Product(Base, Catalogue, FromAccount):
    """`price_type` is one_time_price, recurring_price or usage_based_price (contract §2.5). Amounts are in minor units."""

    __tablename__ = "products"
    __table_args__ = (Index("ix_products_created", "business_id", "created_at", "id"),)

    brand_id: Mapped[str]
    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    price_type: Mapped[str]
    currency: Mapped[str]
    price_minor: Mapped[int]
    tax_inclusive: Mapped[bool] = mapped_column(default=False)
    tax_category: Mapped[str] = mapped_column(default="digital_products")
    interval: Mapped[str | None]  # Day, Week, Month, Year
    interval_count: Mapped[int] = mapped_column(default=1)
    term_interval: Mapped[str | None]
    term_count: Mapped[int] = mapped_column(default=10)
    trial_days: Mapped[int] = mapped_column(default=0)
    meters: Mapped[list[Any]] = mapped_column(default=list)
    addons: Mapped[list[Any]] = mapped_column(default=list)  # add-on ids
    license_key_enabled: Mapped[bool] = mapped_column(default=False)
    license_key_limit: Mapped[int | None]
    license_key_duration: Mapped[dict[str, Any] | None]
    license_key_message: Mapped[str | None]
    download: Mapped[dict[str, Any] | None]  # digital delivery: instructions, external_url
    image: Mapped[str | None]  # the path of a picture (billing/model/pictures.py)
    successor_id: Mapped[str | None]  # the product that is sold instead, once this one is not
    meta: Mapped[dict[str, Any]] = mapped_column(default=dict)
    archived_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    @property
    def is_recurring(self) -> bool:
        return self.price_type != "one_time_price"


class Addon(Base, Catalogue, FromAccount):
    __tablename__ = "addons"

    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    currency: Mapped[str]
    price_minor: Mapped[int]
    tax_category: Mapped[str] = mapped_column(default="digital_products")
    image: Mapped[str | None]
    archived_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Collection(Base, Catalogue, FromAccount):
    """Plans between which a subscription may change. Null settings inherit those of the business."""

    __tablename__ = "collections"

    brand_id: Mapped[str]
    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    effective_on_upgrade: Mapped[str | None]
    effective_on_downgrade: Mapped[str | None]
    proration_on_upgrade: Mapped[str | None]
    proration_on_downgrade: Mapped[str | None]
    on_payment_failure: Mapped[str | None]
    image: Mapped[str | None]
    archived_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class CollectionGroup(Base, Catalogue):
    """A named part of a collection. At most one group has no name. A group that is not `enabled` is not offered."""

    __tablename__ = "collection_groups"
    __table_args__ = (within_business("collection_id", "collections"),)

    collection_id: Mapped[str]
    name: Mapped[str | None]
    position: Mapped[int]
    enabled: Mapped[bool] = mapped_column(default=True)


class CollectionItem(Base, Catalogue):
    """The position of a product in a collection. A product belongs to at most one collection."""

    __tablename__ = "collection_items"
    __table_args__ = (
        within_business("collection_id", "collections"),
        within_business("group_id", "collection_groups"),
        within_business("product_id", "products"),
        Index("uq_collection_items_product", "business_id", "product_id", unique=True),
    )

    collection_id: Mapped[str]
    product_id: Mapped[str]
    group_id: Mapped[str]
    position: Mapped[int]
    enabled: Mapped[bool] = mapped_column(default=True)
