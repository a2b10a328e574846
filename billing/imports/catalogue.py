"""Imports products, add-ons and collections."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, select

from billing.imports.batch import ImportBatch
from billing.model.catalogue import Addon, Collection, CollectionGroup, CollectionItem, Product
from billing.model.imported_records import Record


def addons(batch: ImportBatch, records: list[Record]) -> None:
    rows = batch.found(Addon, [record.id for record in records])
    for record in records:
        batch.write(Addon, record, rows.get(record.id), **_times(batch, record))


def products(batch: ImportBatch, records: list[Record]) -> None:
    rows = batch.found(Product, [record.id for record in records])
    for record in records:
        batch.write(Product, record, rows.get(record.id), brand_id=batch.business_id, **_times(batch, record))


def collections(batch: ImportBatch, records: list[Record]) -> None:
    rows = batch.found(Collection, [record.id for record in records])
    for record in records:
        batch.write(Collection, record, rows.get(record.id), brand_id=batch.business_id, **_times(batch, record))
    batch.db.flush()
    for record in records:
        groups: list[dict[str, Any]] = record.more["groups"]
        placed = {product_id for group in groups for product_id, _is_on in group["products"]}
        from_account = select(Collection.id).where(Collection.account_id == batch.origin.account_id)
        batch.db.execute(delete(CollectionItem).where(CollectionItem.collection_id == record.id))
        batch.db.execute(
            delete(CollectionItem).where(CollectionItem.product_id.in_(placed), CollectionItem.collection_id.in_(from_account))
        )
        in_other_collections = set(batch.db.scalars(select(CollectionItem.product_id).where(CollectionItem.product_id.in_(placed))))
        batch.db.execute(delete(CollectionGroup).where(CollectionGroup.collection_id == record.id))
        for n, group in enumerate(groups):
            batch.db.add(
                CollectionGroup(
                    business_id=batch.business_id,
                    id=group["id"],
                    collection_id=record.id,
                    name=group["name"],
                    position=n,
                    enabled=group["enabled"],
                )
            )
        batch.db.flush()
        position = 0
        for group in groups:
            for product_id, is_on in dict(group["products"]).items():
                if product_id in in_other_collections:  # it is in a collection that was made here, or in another group
                    continue
                in_other_collections.add(product_id)
                batch.db.add(
                    CollectionItem(
                        business_id=batch.business_id,
                        id=f"{record.id}.{product_id}",
                        collection_id=record.id,
                        product_id=product_id,
                        group_id=group["id"],
                        position=position,
                        enabled=is_on,
                    )
                )
                position += 1


def _times(batch: ImportBatch, record: Record) -> dict[str, Any]:
    return {"updated_at": record.values.get("updated_at") or record.values.get("created_at") or batch.at}
