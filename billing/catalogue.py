"""What a business sells: products with one price each, add-ons, and collections within which plans may change."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from billing.provenance import FromAccount
from core.models import Base, Catalogue, within_business


class Product(Base, Catalogue, FromAccount):
    """`price_type`: one_time_price, recurring_price, usage_based_price (contract §2.5). Amounts in minor units."""

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
    meters: Mapped[list] = mapped_column(default=list)
    addons: Mapped[list] = mapped_column(default=list)  # add-on ids
    license_key_enabled: Mapped[bool] = mapped_column(default=False)
    license_key_limit: Mapped[int | None]
    license_key_duration: Mapped[dict | None]
    license_key_message: Mapped[str | None]
    download: Mapped[dict | None]  # digital delivery: instructions, external_url
    image: Mapped[str | None]  # the path of a picture (billing/pictures.py)
    meta: Mapped[dict] = mapped_column(default=dict)
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
    """Plans a subscription may move between. Null defaults inherit the business's."""

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
    """A part of a collection under a name of its own; at most one has none. Not `enabled`: nothing of it is offered."""

    __tablename__ = "collection_groups"
    __table_args__ = (within_business("collection_id", "collections"),)

    collection_id: Mapped[str]
    name: Mapped[str | None]
    position: Mapped[int]
    enabled: Mapped[bool] = mapped_column(default=True)


class CollectionItem(Base, Catalogue):
    """One product's place in a collection: a product belongs to at most one."""

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
