"""Read the catalog for staff: products, add-ons, and collections with their plans in order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, select

from billing.model.catalogue import Addon, Collection, CollectionGroup, CollectionItem, Product
from core.db import ScopedSession
from core.errors import N_, NotFound

Mark = tuple[datetime, str]


@dataclass(frozen=True, slots=True)
class CollectionPlace:
    """A product's place in a collection."""

    item: CollectionItem
    product: Product


@dataclass(frozen=True, slots=True)
class CollectionPart:
    """A group of a collection with its plans, in their order."""

    group: CollectionGroup
    places: list[CollectionPlace]


def products(db: ScopedSession, archived: bool = False, before: Mark | None = None, limit: int = 26) -> list[Product]:
    """Newest first. `before`: (created_at, id) of the last row seen."""
    query = select(Product).where(Product.archived_at.is_not(None) if archived else Product.archived_at.is_(None))
    if before:
        at, item = before
        query = query.where(Product.created_at <= at, (Product.created_at < at) | (Product.id < item))
    return list(db.scalars(query.order_by(Product.created_at.desc(), Product.id.desc()).limit(limit)))


def product(db: ScopedSession, product_id: str) -> Product:
    found = db.scalar(select(Product).where(Product.id == product_id))
    if found is None:
        raise NotFound(sentence=N_("There is no such product."))
    return found


def successors(db: ScopedSession, of: Product, limit: int = 500) -> list[Product]:
    """Return the recurring products on sale, without the product itself, by name, and its present successor in any case."""
    on_sale = Product.archived_at.is_(None) & (Product.price_type == "recurring_price")
    query = select(Product).where((on_sale & (Product.id != of.id)) | (Product.id == of.successor_id))
    return list(db.scalars(query.order_by(func.lower(Product.name), Product.id).limit(limit)))


def addons(db: ScopedSession, archived: bool | None = None, limit: int = 200) -> list[Addon]:
    """Add-ons by name. `archived`: only archived ones, only the others, or all (None)."""
    query = select(Addon)
    if archived is not None:
        query = query.where(Addon.archived_at.is_not(None) if archived else Addon.archived_at.is_(None))
    return list(db.scalars(query.order_by(func.lower(Addon.name), Addon.id).limit(limit)))


def addon(db: ScopedSession, addon_id: str) -> Addon:
    found = db.scalar(select(Addon).where(Addon.id == addon_id))
    if found is None:
        raise NotFound(sentence=N_("There is no such add-on."))
    return found


def collections(db: ScopedSession, limit: int = 200) -> list[tuple[Collection, int]]:
    """(collection, number of its plans), with archived collections last."""
    same_collection = and_(CollectionItem.business_id == Collection.business_id, CollectionItem.collection_id == Collection.id)
    count = select(func.count(CollectionItem.id)).where(same_collection).correlate(Collection).scalar_subquery()
    query = select(Collection, count).order_by(Collection.archived_at.is_not(None), func.lower(Collection.name), Collection.id)
    return [(row[0], row[1]) for row in db.execute(query.limit(limit))]


def collection(db: ScopedSession, collection_id: str) -> tuple[Collection, list[CollectionPart]]:
    """A collection with its groups and plans. Raises NotFound."""
    found = db.scalar(select(Collection).where(Collection.id == collection_id))
    if found is None:
        raise NotFound(sentence=N_("There is no such collection."))
    groups = select(CollectionGroup).where(CollectionGroup.collection_id == collection_id)
    parts = {row.id: CollectionPart(row, []) for row in db.scalars(groups.order_by(CollectionGroup.position, CollectionGroup.id))}
    rows = db.execute(
        select(CollectionItem, Product)
        .join(Product, and_(Product.business_id == CollectionItem.business_id, Product.id == CollectionItem.product_id))
        .where(CollectionItem.collection_id == collection_id)
        .order_by(CollectionItem.position, CollectionItem.id)
    )
    for item, entry in rows:
        parts[item.group_id].places.append(CollectionPlace(item, entry))
    return found, list(parts.values())


def products_without_collection(db: ScopedSession, limit: int = 200) -> list[Product]:
    """Plans on sale that are in no active collection, by name. They can be added to one."""
    placed = (
        select(CollectionItem.product_id)
        .join(Collection, and_(Collection.business_id == CollectionItem.business_id, Collection.id == CollectionItem.collection_id))
        .where(CollectionItem.business_id == Product.business_id, CollectionItem.product_id == Product.id, Collection.archived_at.is_(None))
    )
    query = select(Product).where(Product.archived_at.is_(None), Product.price_type != "one_time_price", ~placed.exists())
    return list(db.scalars(query.order_by(func.lower(Product.name), Product.id).limit(limit)))


def collection_of(db: ScopedSession, product_id: str) -> Collection | None:
    """The active collection of a product, if there is one."""
    same_collection = and_(CollectionItem.business_id == Collection.business_id, CollectionItem.collection_id == Collection.id)
    return db.scalar(
        select(Collection)
        .join(CollectionItem, same_collection)
        .where(CollectionItem.product_id == product_id, Collection.archived_at.is_(None))
    )
