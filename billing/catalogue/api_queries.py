"""Read add-ons, collections with their groups, and discount codes, for the API and staff. Newest first, paged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, func, or_, select

from billing.history.api_lists import ListPage, paged, require, within
from billing.model.catalogue import Addon, Collection, CollectionGroup, CollectionItem, Product
from billing.model.discounts import Discount
from core import clock
from core.db import ScopedSession

ItemWithProduct = tuple[CollectionItem, Product]


@dataclass(frozen=True)
class Grouped:
    group: CollectionGroup
    items: list[ItemWithProduct]


def addon(db: ScopedSession, addon_id: str) -> Addon:
    return require(db.scalar(select(Addon).where(Addon.id == addon_id)), "addon", addon_id)


def addons(db: ScopedSession, page: ListPage, *, archived: bool = False) -> list[Addon]:
    query = select(Addon).where(Addon.archived_at.is_not(None) if archived else Addon.archived_at.is_(None))
    return list(db.scalars(paged(query, Addon.created_at, Addon.id, page)))


def collection(db: ScopedSession, collection_id: str) -> tuple[Collection, list[Grouped]]:
    """A collection with its groups. Raises NotFound."""
    row = require(db.scalar(select(Collection).where(Collection.id == collection_id)), "collection", collection_id)
    groups = select(CollectionGroup).where(CollectionGroup.collection_id == collection_id)
    items = items_with_products(db, collection_id)
    return row, [
        Grouped(group, [item for item in items if item[0].group_id == group.id])
        for group in db.scalars(groups.order_by(CollectionGroup.position, CollectionGroup.id))
    ]


def items_with_products(db: ScopedSession, collection_id: str, item_ids: Sequence[str] | None = None) -> list[ItemWithProduct]:
    """The items of a collection with their products, in order."""
    query = (
        select(CollectionItem, Product)
        .join(Product, and_(Product.business_id == CollectionItem.business_id, Product.id == CollectionItem.product_id))
        .where(CollectionItem.collection_id == collection_id)
    )
    if item_ids is not None:
        query = query.where(CollectionItem.id.in_(list(item_ids)))
    return [(row[0], row[1]) for row in db.execute(query.order_by(CollectionItem.position, CollectionItem.id))]


def collections(db: ScopedSession, page: ListPage, *, archived: bool = False) -> list[tuple[Collection, int]]:
    """(collection, number of its products)"""
    count = (
        select(func.count(CollectionItem.id))
        .where(CollectionItem.business_id == Collection.business_id, CollectionItem.collection_id == Collection.id)
        .scalar_subquery()
    )
    query = select(Collection, count).where(Collection.archived_at.is_not(None) if archived else Collection.archived_at.is_(None))
    return [(row[0], row[1]) for row in db.execute(paged(query, Collection.created_at, Collection.id, page))]


def discount(db: ScopedSession, discount_id: str) -> Discount:
    return require(db.scalar(select(Discount).where(Discount.id == discount_id, Discount.deleted_at.is_(None))), "discount", discount_id)


def discount_by_code(db: ScopedSession, code: str) -> Discount:
    query = select(Discount).where(Discount.code == code.upper(), Discount.deleted_at.is_(None))
    return require(db.scalar(query), "discount", code)


def discounts(
    db: ScopedSession, page: ListPage, *, active: bool | None = None, code: str | None = None, kind: str | None = None,
    product_id: str | None = None,
) -> list[Discount]:  # fmt: skip
    """`active`: usable now, or not. `product_id`: only discounts that apply to the product."""
    query = select(Discount).where(Discount.deleted_at.is_(None))
    if active is not None:
        at = clock.now()
        usable = and_(
            or_(Discount.starts_at.is_(None), Discount.starts_at <= at), or_(Discount.expires_at.is_(None), Discount.expires_at > at),
            or_(Discount.usage_limit.is_(None), Discount.times_used < Discount.usage_limit),
        )  # fmt: skip
        query = query.where(usable if active else ~usable)
    if code is not None:
        query = query.where(Discount.code.contains(code.upper(), autoescape=True))
    if kind is not None:
        query = query.where(Discount.kind == kind)
    if product_id is None:
        return list(db.scalars(paged(query, Discount.created_at, Discount.id, page)))
    query = within(query, Discount.created_at, page)
    rows = db.scalars(query.order_by(Discount.created_at.desc(), Discount.id.desc()))  # a JSON list is filtered here, not in SQL
    fitting = [row for row in rows if not row.restricted_to or product_id in row.restricted_to]
    return fitting[page.number * page.size : (page.number + 1) * page.size]
