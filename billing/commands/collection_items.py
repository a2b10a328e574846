"""The products of a collection: into one group of it, offered or not, and out of it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import select

from billing.catalogue import Collection, CollectionGroup, CollectionItem, Product
from core import clock
from core.db import ScopedSession
from core.errors import Conflict, Gone, Invalid, NotFound
from core.outbox import emit


def add_items(db: ScopedSession, group: CollectionGroup, products: Sequence[tuple[str, bool]]) -> list[CollectionItem]:
    """`products`: (product id, whether it is offered), after those there are.

    Raises NotFound for a product of somebody else, Conflict for one that is in a collection; an archived collection lets go of its own.
    """
    held = _held(db, [product_id for product_id, _ in products])
    last = list(db.scalars(select(CollectionItem.position).where(CollectionItem.group_id == group.id)))
    position, out = max(last, default=-1), []
    for product_id, enabled in products:
        place, archived = held.get(product_id, (None, False))
        if place is not None and not archived:
            raise Conflict("PRODUCT_ALREADY_IN_COLLECTION", f"{product_id[:80]} is in a collection already.")
        if place is not None:
            db.delete(place)
            db.flush()
        position += 1
        item = CollectionItem(business_id=group.business_id, id=str(uuid.uuid4()), collection_id=group.collection_id,
                              product_id=product_id, group_id=group.id, position=position, enabled=enabled)
        db.add(item)
        db.flush()
        held[product_id] = (item, False)
        out.append(item)
    _touch(db, group.collection_id)
    return out


def enable_item(db: ScopedSession, collection_id: str, item_id: str, enabled: bool) -> CollectionItem:
    """Whether people may move to it. Who has it keeps it. Raises NotFound, Gone."""
    item = load_item(db, collection_id, item_id)
    item.enabled = enabled
    _touch(db, collection_id)
    return item


def move_item(db: ScopedSession, item: CollectionItem, group: CollectionGroup) -> None:
    """Into a group of the same collection, after those there are; offered or not as before. Raises Gone, NotFound."""
    if item.collection_id != group.collection_id:
        raise NotFound(sentence="This group is of another collection.")
    others = select(CollectionItem.position).where(CollectionItem.group_id == group.id, CollectionItem.id != item.id)
    item.group_id, item.position = group.id, max(db.scalars(others), default=-1) + 1
    _touch(db, item.collection_id)


def remove_item(db: ScopedSession, collection_id: str, item_id: str) -> None:
    """Raises NotFound, Gone, Invalid for the last one."""
    item = load_item(db, collection_id, item_id)
    others = select(CollectionItem.id).where(CollectionItem.collection_id == collection_id, CollectionItem.id != item_id)
    if db.scalar(others.limit(1)) is None:
        raise Invalid("PRODUCT_COLLECTION_MUST_HAVE_PRODUCTS", "A collection holds one product or more.")
    db.delete(item)
    _touch(db, collection_id)


def load_item(db: ScopedSession, collection_id: str, item_id: str) -> CollectionItem:
    item = db.scalar(select(CollectionItem).where(CollectionItem.id == item_id, CollectionItem.collection_id == collection_id))
    if item is None:
        raise NotFound(sentence=f"There is no item {item_id[:80]} in this collection.")
    return item


def _held(db: ScopedSession, product_ids: Sequence[str]) -> dict[str, tuple[CollectionItem | None, bool]]:
    """product id → its place, and whether that collection is archived. Raises NotFound."""
    known = set(db.scalars(select(Product.id).where(Product.id.in_(list(product_ids)))))
    if missing := [one for one in product_ids if one not in known]:
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
        raise Gone("PRODUCT_COLLECTION_IS_DELETED", "This collection is archived.")
    collection.updated_at = clock.now()
    emit(db, "collection.updated", business_id=collection.business_id, noun=collection.id, data={"fields": ["items"]})
