"""Add products to a collection's groups, enable, move and remove them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import select

from billing.model.catalogue import Collection, CollectionGroup, CollectionItem, Product
from core import clock
from core.db import ScopedSession
from core.errors import N_, Conflict, Gone, Invalid, NotFound
from core.outbox import emit


def add_items(db: ScopedSession, group: CollectionGroup, products: Sequence[tuple[str, bool]]) -> list[CollectionItem]:
    """Append products to a group. `products`: (product id, whether it is offered).

    Raises NotFound for an unknown product, Conflict for one in another collection. Products move out of archived collections.
    """
    present = _items_of(db, [product_id for product_id, _ in products])
    last = list(db.scalars(select(CollectionItem.position).where(CollectionItem.group_id == group.id)))
    position, out = max(last, default=-1), []
    for product_id, enabled in products:
        existing, archived = present.get(product_id, (None, False))
        if existing is not None and not archived:
            raise Conflict("PRODUCT_ALREADY_IN_COLLECTION", f"{product_id[:80]} is already in a collection.")
        if existing is not None:
            db.delete(existing)
            db.flush()
        position += 1
        item = CollectionItem(
            business_id=group.business_id,
            id=str(uuid.uuid4()),
            collection_id=group.collection_id,
            product_id=product_id,
            group_id=group.id,
            position=position,
            enabled=enabled,
        )
        db.add(item)
        db.flush()
        present[product_id] = (item, False)
        out.append(item)
    _touch(db, group.collection_id)
    return out


def enable_item(db: ScopedSession, collection_id: str, item_id: str, enabled: bool) -> CollectionItem:
    """Set whether subscriptions may change to the product. Existing subscribers keep it. Raises NotFound, Gone."""
    item = load_item(db, collection_id, item_id)
    item.enabled = enabled
    _touch(db, collection_id)
    return item


def move_item(db: ScopedSession, item: CollectionItem, group: CollectionGroup) -> None:
    """Move an item to the end of another group of the same collection. Raises Gone, NotFound."""
    if item.collection_id != group.collection_id:
        raise NotFound(sentence=N_("This group belongs to another collection."))
    others = select(CollectionItem.position).where(CollectionItem.group_id == group.id, CollectionItem.id != item.id)
    item.group_id, item.position = group.id, max(db.scalars(others), default=-1) + 1
    _touch(db, item.collection_id)


def remove_item(db: ScopedSession, collection_id: str, item_id: str) -> None:
    """Remove an item. Raises NotFound, Gone, and Invalid for the last item."""
    item = load_item(db, collection_id, item_id)
    others = select(CollectionItem.id).where(CollectionItem.collection_id == collection_id, CollectionItem.id != item_id)
    if db.scalar(others.limit(1)) is None:
        raise Invalid("PRODUCT_COLLECTION_MUST_HAVE_PRODUCTS", N_("A collection must contain at least one product."))
    db.delete(item)
    _touch(db, collection_id)


def load_item(db: ScopedSession, collection_id: str, item_id: str) -> CollectionItem:
    item = db.scalar(select(CollectionItem).where(CollectionItem.id == item_id, CollectionItem.collection_id == collection_id))
    if item is None:
        raise NotFound(sentence=f"There is no item {item_id[:80]} in this collection.")
    return item


def _items_of(db: ScopedSession, product_ids: Sequence[str]) -> dict[str, tuple[CollectionItem | None, bool]]:
    """Map product ids to their item and whether its collection is archived. Raises NotFound."""
    known = set(db.scalars(select(Product.id).where(Product.id.in_(list(product_ids)))))
    if missing := [product_id for product_id in product_ids if product_id not in known]:
        raise NotFound(sentence=f"There is no product {missing[0][:80]}.")
    rows = db.execute(
        select(CollectionItem, Collection.archived_at)
        .join(Collection, (Collection.business_id == CollectionItem.business_id) & (Collection.id == CollectionItem.collection_id))
        .where(CollectionItem.product_id.in_(list(product_ids)))
    ).all()
    return {item.product_id: (item, archived is not None) for item, archived in rows}


def _touch(db: ScopedSession, collection_id: str) -> None:
    collection = db.scalar(select(Collection).where(Collection.id == collection_id))
    assert collection is not None
    if collection.archived_at is not None:
        raise Gone("PRODUCT_COLLECTION_IS_DELETED", N_("This collection is archived."))
    collection.updated_at = clock.now()
    emit(db, "collection.updated", business_id=collection.business_id, noun=collection.id, data={"fields": ["items"]})
