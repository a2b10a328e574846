"""Loading licence keys and where they are in use."""

from __future__ import annotations

from billing.commands.loading.batch import Batch
from billing.licences import LicenseInstance, LicenseKey
from billing.loaded import Record
from billing.subscriptions import Subscription
from core.errors import Invalid


def keys(batch: Batch, records: list[Record]) -> None:
    """A key that another row of the business has already is that row's: whoever tells it again gets none."""
    rows = batch.found(LicenseKey, [one.id for one in records])
    taken = {row.key: row.id for row in batch.found(LicenseKey, [one.values["key"] for one in records], "key").values()}
    plans = batch.found(Subscription, [one.values["subscription_id"] for one in records])
    for one in records:
        if taken.setdefault(one.values["key"], one.id) != one.id:
            raise Invalid(fields={"key": "another license key of this business is the same."})
        if one.id in rows and rows[one.id].customer_id != one.customer_id:
            continue
        row = batch.write(LicenseKey, one, rows.get(one.id), customer_id=one.customer_id, brand_id=batch.business_id)
        plan = plans.get(row.subscription_id or "")
        if row.status == "active":
            row.disabled_by_business_at = None
        elif row.status == "disabled" and (plan is None or plan.status in ("active", "past_due")):
            row.disabled_by_business_at = row.disabled_by_business_at or batch.at  # nothing else disables it


def instances(batch: Batch, records: list[Record]) -> None:
    rows = batch.found(LicenseInstance, [one.id for one in records])
    owners = batch.found(LicenseKey, [one.values["license_key_id"] for one in records])
    for one in records:
        if one.id in rows and rows[one.id].license_key_id != one.values["license_key_id"]:
            continue
        batch.write(LicenseInstance, one, rows.get(one.id), customer_id=owners[one.values["license_key_id"]].customer_id)
