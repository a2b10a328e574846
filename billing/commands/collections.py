"""Collections: the plans that a subscription may move between, in groups. A product belongs to at most one of them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from billing.catalogue import Collection, CollectionGroup, CollectionItem, Product
from billing.commands.collection_items import add_items
from core import clock
from core.db import ScopedSession
from core.errors import Gone, Invalid, NotFound
from core.ids import new_id
from core.outbox import emit


@dataclass(frozen=True)
class GroupWanted:
    """`products`: (product id, whether it is offered), in their order."""

    products: Sequence[tuple[str, bool]]
    name: str | None = None
    enabled: bool = True


def create_collection(
    db: ScopedSession, business_id: str, *, name: str, product_ids: Sequence[str] = (), groups: Sequence[GroupWanted] = (),
    description: str = "", **defaults: str | None,
) -> Collection:
    """`product_ids`: one nameless group of them, in the order given; or `groups`. `defaults`: see `Collection`.

    Raises NotFound for a product of somebody else, Invalid (none at all, two groups of one name), Conflict (it is in another collection).
    """
    at = clock.now()
    collection = Collection(business_id=business_id, id=new_id("pdc"), brand_id=business_id, name=name, description=description,
                            created_at=at, updated_at=at, **defaults)
    db.add(collection)
    db.flush()
    for wanted in groups or [GroupWanted([(one, True) for one in product_ids])]:
        add_group(db, collection.id, wanted)
    if db.scalar(select(CollectionItem.id).where(CollectionItem.collection_id == collection.id).limit(1)) is None:
        raise Invalid("PRODUCT_COLLECTION_MUST_HAVE_PRODUCTS", "A collection holds one product or more.", fields={"groups": "None."})
    emit(db, "collection.created", business_id=business_id, noun=collection.id, data={"name": name})
    return collection


def update_collection(db: ScopedSession, collection_id: str, *, group_order: Sequence[str] | None = None, **changes: Any) -> Collection:
    """Of name, description, image and the defaults (None: as the business has it) only what is given.

    `group_order`: every group's id, in their new order. Raises NotFound, Invalid, Gone.
    """
    collection = load_collection(db, collection_id)
    if group_order is not None:
        rows = {one.id: one for one in groups_of(db, collection_id)}
        if sorted(group_order) != sorted(rows):
            raise Invalid(sentence="group_order: name every group once.", fields={"group_order": "Every group once."})
        for position, group_id in enumerate(group_order):
            rows[group_id].position = position
    for name, value in changes.items():
        setattr(collection, name, value)
    touch(db, collection, [*changes, *(["group_order"] if group_order is not None else [])])
    return collection


def archive_collection(db: ScopedSession, collection_id: str) -> Collection:
    """Its plans can no longer be changed for one another, and may go to other collections. Raises NotFound, Gone."""
    collection = load_collection(db, collection_id)
    collection.archived_at = collection.updated_at = clock.now()
    emit(db, "collection.archived", business_id=collection.business_id, noun=collection.id)
    return collection


def unarchive_collection(db: ScopedSession, collection_id: str) -> tuple[Collection, list[str]]:
    """(collection, ids of its products that are archived and so stay out). Raises NotFound."""
    collection = db.scalar(select(Collection).where(Collection.id == collection_id))
    if collection is None:
        raise NotFound(sentence=f"There is no collection {collection_id[:80]}.")
    gone = list(db.scalars(
        select(Product.id).where(Product.archived_at.is_not(None))
        .join(CollectionItem, (CollectionItem.business_id == Product.business_id) & (CollectionItem.product_id == Product.id))
        .where(CollectionItem.collection_id == collection_id).order_by(CollectionItem.position)))
    if collection.archived_at is not None:
        collection.archived_at, collection.updated_at = None, clock.now()
        emit(db, "collection.unarchived", business_id=collection.business_id, noun=collection.id)
    return collection, gone


def add_group(db: ScopedSession, collection_id: str, wanted: GroupWanted) -> CollectionGroup:
    """A group after the others. Raises as `create_collection`."""
    collection = load_collection(db, collection_id)
    others = groups_of(db, collection_id)
    _free_name(others, wanted.name)
    group = CollectionGroup(business_id=collection.business_id, id=str(uuid.uuid4()), collection_id=collection_id, name=wanted.name,
                            position=max((one.position for one in others), default=-1) + 1, enabled=wanted.enabled)
    db.add(group)
    db.flush()
    add_items(db, group, wanted.products)
    touch(db, collection, ["groups"])
    return group


def update_group(
    db: ScopedSession, collection_id: str, group_id: str, *, product_order: Sequence[str] | None = None, **changes: Any
) -> CollectionGroup:
    """Of name, enabled only what is given. `product_order`: the id of every item of the group. Raises NotFound, Invalid, Gone."""
    collection, group = load_collection(db, collection_id), load_group(db, collection_id, group_id)
    if "name" in changes:
        _free_name([one for one in groups_of(db, collection_id) if one.id != group_id], changes["name"])
    if product_order is not None:
        rows = {one.id: one for one in db.scalars(select(CollectionItem).where(CollectionItem.group_id == group_id))}
        if sorted(product_order) != sorted(rows):
            raise Invalid(sentence="product_order: name every item of the group once.", fields={"product_order": "Every item once."})
        for position, item_id in enumerate(product_order):
            rows[item_id].position = position
    for name, value in changes.items():
        setattr(group, name, value)
    touch(db, collection, ["groups"])
    return group


def delete_group(db: ScopedSession, collection_id: str, group_id: str) -> None:
    """With its items. Raises NotFound, Gone, Invalid where nothing would be left of the collection."""
    collection, group = load_collection(db, collection_id), load_group(db, collection_id, group_id)
    items = list(db.scalars(select(CollectionItem).where(CollectionItem.collection_id == collection_id)))
    if all(one.group_id == group_id for one in items):
        raise Invalid("PRODUCT_COLLECTION_MUST_HAVE_PRODUCTS", "A collection holds one product or more.")
    for one in items:
        if one.group_id == group_id:
            db.delete(one)
    db.flush()
    db.delete(group)
    touch(db, collection, ["groups"])


def load_collection(db: ScopedSession, collection_id: str) -> Collection:
    """Raises NotFound, Gone (PRODUCT_COLLECTION_IS_DELETED)."""
    collection = db.scalar(select(Collection).where(Collection.id == collection_id))
    if collection is None:
        raise NotFound(sentence=f"There is no collection {collection_id[:80]}.")
    if collection.archived_at is not None:
        raise Gone("PRODUCT_COLLECTION_IS_DELETED", "This collection is archived.")
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


def _free_name(others: Sequence[CollectionGroup], name: str | None) -> None:
    if any(one.name == name for one in others):
        words = "There is a group of this name already." if name else "There is a group without a name already."
        raise Invalid(sentence=f"group_name: {words}", fields={"group_name": words})
