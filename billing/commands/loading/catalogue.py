"""Loading what a business sells."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, select

from billing.catalogue import Addon, Collection, CollectionGroup, CollectionItem, Product
from billing.commands.loading.batch import Batch
from billing.loaded import Record


def addons(batch: Batch, records: list[Record]) -> None:
    rows = batch.found(Addon, [one.id for one in records])
    for one in records:
        batch.write(Addon, one, rows.get(one.id), **_times(batch, one))


def products(batch: Batch, records: list[Record]) -> None:
    rows = batch.found(Product, [one.id for one in records])
    for one in records:
        batch.write(Product, one, rows.get(one.id), brand_id=batch.business_id, **_times(batch, one))


def collections(batch: Batch, records: list[Record]) -> None:
    rows = batch.found(Collection, [one.id for one in records])
    for one in records:
        batch.write(Collection, one, rows.get(one.id), brand_id=batch.business_id, **_times(batch, one))
    batch.db.flush()
    for one in records:
        groups: list[dict[str, Any]] = one.more["groups"]
        placed = {product_id for group in groups for product_id, _on in group["products"]}
        its_own = select(Collection.id).where(Collection.account_id == batch.origin.account_id)
        batch.db.execute(delete(CollectionItem).where(CollectionItem.collection_id == one.id))
        batch.db.execute(delete(CollectionItem).where(CollectionItem.product_id.in_(placed), CollectionItem.collection_id.in_(its_own)))
        here = set(batch.db.scalars(select(CollectionItem.product_id).where(CollectionItem.product_id.in_(placed))))
        batch.db.execute(delete(CollectionGroup).where(CollectionGroup.collection_id == one.id))
        for n, group in enumerate(groups):
            batch.db.add(CollectionGroup(business_id=batch.business_id, id=group["id"], collection_id=one.id, name=group["name"],
                                         position=n, enabled=group["enabled"]))
        batch.db.flush()
        position = 0
        for group in groups:
            for product_id, on in dict(group["products"]).items():
                if product_id in here:  # it stands in a collection that was made here, or in another group
                    continue
                here.add(product_id)
                batch.db.add(CollectionItem(business_id=batch.business_id, id=f"{one.id}.{product_id}", collection_id=one.id,
                                            product_id=product_id, group_id=group["id"], position=position, enabled=on))
                position += 1


def _times(batch: Batch, one: Record) -> dict[str, Any]:
    return {"updated_at": one.values.get("updated_at") or one.values.get("created_at") or batch.at}
