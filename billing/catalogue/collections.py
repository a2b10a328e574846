"""Create and change collections: groups of plans that a subscription may change between. A product is in one at most."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from billing.catalogue.collection_items import add_items
from billing.model.catalogue import Collection, CollectionGroup, CollectionItem, Product
from core import clock
from core.db import ScopedSession
from core.errors import N_, Gone, Invalid, NotFound
from core.ids import new_id
from core.outbox import emit


@dataclass(frozen=True)
class GroupWanted:
    """A group to create. `products`: (product id, whether it is offered), in order."""

    products: Sequence[tuple[str, bool]]
    name: str | None = None
    enabled: bool = True


def create_collection(
    db: ScopedSession,
    business_id: str,
    *,
    name: str,
    product_ids: Sequence[str] = (),
    groups: Sequence[GroupWanted] = (),
    description: str = "",
    **defaults: str | None,
) -> Collection:
    """Create a collection of `groups`, or of one unnamed group with `product_ids`. `defaults`: see `Collection`.

    Raises NotFound (unknown product), Invalid (no product, duplicate group name), Conflict (product in another collection).
    """
    at = clock.now()
    collection = Collection(
        business_id=business_id,
        id=new_id("pdc"),
        brand_id=business_id,
        name=name,
        description=description,
        created_at=at,
        updated_at=at,
        **defaults,
    )
    db.add(collection)
    db.flush()
    for wanted in groups or [GroupWanted([(product_id, True) for product_id in product_ids])]:
        add_group(db, collection.id, wanted)
    if db.scalar(select(CollectionItem.id).where(CollectionItem.collection_id == collection.id).limit(1)) is None:
        raise Invalid(
            "PRODUCT_COLLECTION_MUST_HAVE_PRODUCTS",
            N_("A collection must contain at least one product."),
            fields={"groups": N_("Add at least one product.")},
        )
    emit(db, "collection.created", business_id=business_id, noun=collection.id, data={"name": name})
    return collection


def update_collection(db: ScopedSession, collection_id: str, *, group_order: Sequence[str] | None = None, **changes: Any) -> Collection:
    """Change name, description, image or defaults (None: the business's setting applies).

    `group_order`: the ids of all groups, in the new order. Raises NotFound, Invalid, Gone.
    """
    collection = load_collection(db, collection_id)
    if group_order is not None:
        rows = {item.id: item for item in groups_of(db, collection_id)}
        if sorted(group_order) != sorted(rows):
            raise Invalid(
                sentence=N_("group_order: list every group exactly once."), fields={"group_order": N_("List every group exactly once.")}
            )
        for position, group_id in enumerate(group_order):
            rows[group_id].position = position
    for name, value in changes.items():
        setattr(collection, name, value)
    touch(db, collection, [*changes, *(["group_order"] if group_order is not None else [])])
    return collection


def archive_collection(db: ScopedSession, collection_id: str) -> Collection:
    """Archive a collection. Its plans no longer replace each other and may join other collections. Raises NotFound, Gone."""
    collection = load_collection(db, collection_id)
    collection.archived_at = collection.updated_at = clock.now()
    emit(db, "collection.archived", business_id=collection.business_id, noun=collection.id)
    return collection


def unarchive_collection(db: ScopedSession, collection_id: str) -> tuple[Collection, list[str]]:
    """Restore a collection. Returns (collection, ids of its archived products, which are not offered). Raises NotFound."""
    collection = db.scalar(select(Collection).where(Collection.id == collection_id))
    if collection is None:
        raise NotFound(sentence=f"There is no collection {collection_id[:80]}.")
    archived_ids = list(
        db.scalars(
            select(Product.id)
            .where(Product.archived_at.is_not(None))
            .join(CollectionItem, (CollectionItem.business_id == Product.business_id) & (CollectionItem.product_id == Product.id))
            .where(CollectionItem.collection_id == collection_id)
            .order_by(CollectionItem.position)
        )
    )
    if collection.archived_at is not None:
        collection.archived_at, collection.updated_at = None, clock.now()
        emit(db, "collection.unarchived", business_id=collection.business_id, noun=collection.id)
    return collection, archived_ids


def add_group(db: ScopedSession, collection_id: str, wanted: GroupWanted) -> CollectionGroup:
    """Append a group. Raises as `create_collection`."""
    collection = load_collection(db, collection_id)
    others = groups_of(db, collection_id)
    _check_name_free(others, wanted.name)
    group = CollectionGroup(
        business_id=collection.business_id,
        id=str(uuid.uuid4()),
        collection_id=collection_id,
        name=wanted.name,
        position=max((other.position for other in others), default=-1) + 1,
        enabled=wanted.enabled,
    )
    db.add(group)
    db.flush()
    add_items(db, group, wanted.products)
    touch(db, collection, ["groups"])
    return group


def update_group(
    db: ScopedSession, collection_id: str, group_id: str, *, product_order: Sequence[str] | None = None, **changes: Any
) -> CollectionGroup:
    """Change name or enabled. `product_order`: the ids of all items of the group, in order. Raises NotFound, Invalid, Gone."""
    collection, group = load_collection(db, collection_id), load_group(db, collection_id, group_id)
    if "name" in changes:
        _check_name_free([item for item in groups_of(db, collection_id) if item.id != group_id], changes["name"])
    if product_order is not None:
        rows = {
            collection_item.id: collection_item
            for collection_item in db.scalars(select(CollectionItem).where(CollectionItem.group_id == group_id))
        }
        if sorted(product_order) != sorted(rows):
            raise Invalid(
                sentence=N_("product_order: list every item of the group exactly once."),
                fields={"product_order": N_("List every item exactly once.")},
            )
        for position, item_id in enumerate(product_order):
            rows[item_id].position = position
    for name, value in changes.items():
        setattr(group, name, value)
    touch(db, collection, ["groups"])
    return group


def delete_group(db: ScopedSession, collection_id: str, group_id: str) -> None:
    """Delete a group with its items. Raises NotFound, Gone, and Invalid if the collection would become empty."""
    collection, group = load_collection(db, collection_id), load_group(db, collection_id, group_id)
    items = list(db.scalars(select(CollectionItem).where(CollectionItem.collection_id == collection_id)))
    if all(item.group_id == group_id for item in items):
        raise Invalid("PRODUCT_COLLECTION_MUST_HAVE_PRODUCTS", N_("A collection must contain at least one product."))
    for item in items:
        if item.group_id == group_id:
            db.delete(item)
    db.flush()
    db.delete(group)
    touch(db, collection, ["groups"])


def load_collection(db: ScopedSession, collection_id: str) -> Collection:
    """Raises NotFound, Gone (PRODUCT_COLLECTION_IS_DELETED)."""
    collection = db.scalar(select(Collection).where(Collection.id == collection_id))
    if collection is None:
        raise NotFound(sentence=f"There is no collection {collection_id[:80]}.")
    if collection.archived_at is not None:
        raise Gone("PRODUCT_COLLECTION_IS_DELETED", N_("This collection is archived."))
    return collection


def load_group(db: ScopedSession, collection_id: str, group_id: str) -> CollectionGroup:
    query = select(CollectionGroup).where(CollectionGroup.id == group_id, CollectionGroup.collection_id == collection_id)
    group = db.scalar(query)
    if group is None:
        raise NotFound(sentence=f"There is no group {group_id[:80]} in this collection.")
    return group


def groups_of(db: ScopedSession, collection_id: str) -> list[CollectionGroup]:
    query = select(CollectionGroup).where(CollectionGroup.collection_id == collection_id)
    return list(db.scalars(query.order_by(CollectionGroup.position, CollectionGroup.id)))


def touch(db: ScopedSession, collection: Collection, fields: Sequence[str]) -> None:
    collection.updated_at = clock.now()
    emit(db, "collection.updated", business_id=collection.business_id, noun=collection.id, data={"fields": sorted(fields)})


def _check_name_free(others: Sequence[CollectionGroup], name: str | None) -> None:
    if any(other.name == name for other in others):
        problem = "A group with this name already exists." if name else "A group without a name already exists."
        raise Invalid(sentence=f"group_name: {problem}", fields={"group_name": problem})
