"""Imports license keys and their activations."""

from __future__ import annotations

from billing.imports.batch import ImportBatch
from billing.model.imported_records import Record
from billing.model.licenses import LicenseInstance, LicenseKey
from billing.model.lifecycle import HAS_ACCESS
from billing.model.subscriptions import Subscription
from core.errors import N_, Invalid


def keys(batch: ImportBatch, records: list[Record]) -> None:
    """Import license keys. Raises Invalid for a key that another row of the business already has."""
    rows = batch.found(LicenseKey, [record.id for record in records])
    taken = {row.key: row.id for row in batch.found(LicenseKey, [record.values["key"] for record in records], "key").values()}
    plans = batch.found(Subscription, [record.values["subscription_id"] for record in records])
    for record in records:
        if taken.setdefault(record.values["key"], record.id) != record.id:
            raise Invalid(fields={"key": N_("this business already has a license key with this text.")})
        if record.id in rows and rows[record.id].customer_id != record.customer_id:
            continue
        row = batch.write(LicenseKey, record, rows.get(record.id), customer_id=record.customer_id, brand_id=batch.business_id)
        plan = plans.get(row.subscription_id or "")
        if row.status == "active":
            row.disabled_by_business_at = None
        elif row.status == "disabled" and (plan is None or plan.status in HAS_ACCESS):
            row.disabled_by_business_at = row.disabled_by_business_at or batch.at  # only the business can have disabled it


def instances(batch: ImportBatch, records: list[Record]) -> None:
    rows = batch.found(LicenseInstance, [record.id for record in records])
    owners = batch.found(LicenseKey, [record.values["license_key_id"] for record in records])
    for record in records:
        if record.id in rows and rows[record.id].license_key_id != record.values["license_key_id"]:
            continue
        batch.write(LicenseInstance, record, rows.get(record.id), customer_id=owners[record.values["license_key_id"]].customer_id)
