"""Imports subscriptions, and emits events for their changes since the last import."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from billing.imports.batch import ImportBatch
from billing.imports.parties import ensure_methods
from billing.model.catalogue import Addon, Product
from billing.model.imported_records import Record
from billing.model.lifecycle import UNPAID_STATES
from billing.model.parties import Customer
from billing.model.quotes import ScheduledChange
from billing.model.subscriptions import Subscription
from billing.pricing.calendar import add, nth
from core.errors import Invalid

_BECAME = {
    "on_hold": "subscription.on_hold",
    "past_due": "subscription.past_due",
    "cancelled": "subscription.cancelled",
    "expired": "subscription.expired",
    "failed": "subscription.failed",
    "paused": "subscription.paused",
}
_SEARCH = 1200  # periods: a hundred years of months


def subscriptions(batch: ImportBatch, records: list[Record]) -> None:
    rows = batch.found(Subscription, [record.id for record in records])
    products = batch.found(Product, [record.values["product_id"] for record in records])
    addons = batch.found(Addon, [held["addon_id"] for record in records for held in record.more["addons"]])
    buyers = batch.found(Customer, [record.customer_id for record in records], "customer_id")
    named = {record.values["payment_method_id"]: str(record.customer_id) for record in records if record.values["payment_method_id"]}
    known = ensure_methods(batch, {method_id: (customer_id, {}) for method_id, customer_id in named.items()})
    loaded: set[str] = set()
    for record in records:
        row, product, buyer = rows.get(record.id), products[record.values["product_id"]], buyers[str(record.customer_id)]
        if row is not None and (row.collected_by != batch.source or row.customer_id != record.customer_id):
            continue  # collected here or moved to another customer, so the other system's data no longer counts
        collected_by = batch.source if row is not None or batch.origin.is_mirror else record.more.get("collected_by") or batch.source
        if collected_by == "us" and not batch.can_collect:
            raise Invalid(
                fields={"collected_by": f"{record.id}: this business has no open payment account, so it cannot collect this subscription."}
            )
        if collected_by == "us" and product.price_type == "usage_based_price":
            raise Invalid(fields={"product_id": f"{record.id}: usage-based pricing is not supported, so this cannot be collected by us."})
        values = _columns(batch, record, product, addons, collected_by)
        method_id = record.values["payment_method_id"]
        values["payment_method_id"] = method_id if method_id in known and known[method_id].customer_id == buyer.customer_id else None
        if row is not None and "tax_bps" in row.billing and row.billing.get("country") == record.values["billing"].get("country"):
            values["billing"] = {**record.values["billing"], "tax_bps": row.billing["tax_bps"]}
        if not buyer.billing and record.values["billing"] and buyer.account_id == batch.origin.account_id:
            buyer.billing = record.values["billing"]
        if row is None:
            row = batch.write(
                Subscription,
                record,
                None,
                customer_id=record.customer_id,
                brand_id=product.brand_id,
                zone=batch.business.zone,
                collected_by=collected_by,
                credit_minor=0,
                **values,
            )
            batch.emit_silently("subscription.loaded", record.id, buyer.customer_id)
        else:
            before = _state(row)
            batch.write(Subscription, record, row, **values)
            _emit_changes(batch, row, before, product)
        loaded.add(record.id)
    batch.db.flush()
    _planned(batch, records, loaded)


def _columns(batch: ImportBatch, record: Record, product: Product, addons: dict[str, Addon], collected_by: str) -> dict[str, Any]:
    """Return the column values: those that the source leaves to the product, and those in another form here."""
    source = record.values
    chosen_addons = [
        {"addon_id": addon.id, "name": addon.name, "quantity": item["quantity"], "unit_minor": addon.price_minor}
        for item in record.more["addons"]
        for addon in [addons[item["addon_id"]]]
    ]
    extra = sum(addon["quantity"] * addon["unit_minor"] for addon in chosen_addons)
    amount = record.more["amount"] if record.more["amount"] is not None else product.price_minor * source["quantity"] + extra
    values: dict[str, Any] = {
        "currency": source["currency"] or product.currency,
        "addons": chosen_addons,
        "unit_minor": max(amount - extra, 0) // source["quantity"],
        "tax_inclusive": product.tax_inclusive if source["tax_inclusive"] is None else source["tax_inclusive"],
        "interval": source["interval"] or product.interval or "Month",
        "interval_count": source["interval_count"] or product.interval_count,
        "term_interval": source["term_interval"] or product.term_interval or "Year",
        "term_count": source["term_count"] or product.term_count,
    }
    started_at, ends = source["created_at"] or batch.at, source["next_billing_at"]
    values["expires_at"] = source["expires_at"] or add(started_at, batch.business.zone, values["term_interval"], values["term_count"])
    trial_ends = started_at + timedelta(days=source["trial_days"]) if source["trial_days"] else None
    values["trial_ends_at"] = trial_ends
    values["period_n"] = values["anchor_n"] = 0 if trial_ends and trial_ends > batch.at else 1
    values["anchor_at"] = started_at
    if source["status"] in UNPAID_STATES:
        values["on_hold_at"] = ends if ends and ends <= batch.at else batch.at
    if source["status"] == "paused":
        values["paused_at"] = source["paused_at"] or batch.at
    if collected_by == "us" and ends:
        values |= _anchor(batch.business.zone, values, started_at, ends)
    values["discounts"] = [{**discount, "since": values["period_n"] + 1} for discount in source.get("discounts") or ()]
    return values


def _anchor(zone: str, values: dict[str, Any], started_at: datetime, ends: datetime) -> dict[str, Any]:
    """Return the anchor: the start, if the dates are counted from it (the 31st stays the 31st), else the next billing date."""
    n = 1
    while n < _SEARCH and (date := nth(started_at, zone, values["interval"], values["interval_count"], n)) <= ends:
        if date == ends:
            return {"anchor_at": started_at, "anchor_n": 0, "period_n": n}
        n += 1
    return {"anchor_at": ends, "anchor_n": values["period_n"], "period_n": values["period_n"]}


def _state(row: Subscription) -> dict[str, Any]:
    return {
        name: getattr(row, name)
        for name in ("status", "next_billing_at", "cancel_at_period_end", "product_id", "quantity", "payment_method_id")
    }


def _emit_changes(batch: ImportBatch, row: Subscription, before: dict[str, Any], product: Product) -> None:
    """Emit the events of the changes that a customer sees in the history."""
    at = row.next_billing_at.isoformat() if row.next_billing_at else None

    def emit(type: str, **data: Any) -> None:
        batch.emit_silently(type, row.id, row.customer_id, next_billing_at=at, **data)

    was = before["status"]
    if row.status != was and row.status in _BECAME:
        emit(_BECAME[row.status], ends_at=at)
    elif row.status != was and row.status == "active":
        emit("subscription.unpaused" if was == "paused" else "subscription.active", reactivated=was in UNPAID_STATES)
    if (before["product_id"], before["quantity"]) != (row.product_id, row.quantity):
        emit("subscription.plan_changed", product=product.name, quantity=row.quantity)
    elif row.status == was == "active" and at and before["next_billing_at"] and row.next_billing_at > before["next_billing_at"]:
        emit("subscription.renewed")
    if row.cancel_at_period_end and not before["cancel_at_period_end"]:
        emit("subscription.cancellation_scheduled", ends_at=at)
    elif before["cancel_at_period_end"] and not row.cancel_at_period_end and row.status not in ("cancelled", "expired"):
        emit("subscription.cancellation_revoked", ends_at=at)
    if row.payment_method_id and before["payment_method_id"] not in (None, row.payment_method_id):
        emit("subscription.update_payment_method", payment_method_id=row.payment_method_id)


def _planned(batch: ImportBatch, records: list[Record], loaded: set[str]) -> None:
    """Add the plan changes that are scheduled in the other system, and cancel those that are not scheduled any more."""
    ids = [record.id for record in records]
    open_changes = {
        row.subscription_id: row
        for row in batch.db.scalars(
            select(ScheduledChange).where(
                ScheduledChange.subscription_id.in_(ids), ScheduledChange.cancelled_at.is_(None), ScheduledChange.applied_at.is_(None)
            )
        )
    }
    for record in records:
        planned, row = record.more["planned"], open_changes.get(record.id)
        if record.id not in loaded:
            continue
        if row is not None and (planned is None or row.id != planned["id"]):
            row.cancelled_at = batch.at
            batch.db.flush()
            row = None
        if planned is None or row is not None:
            continue
        product = batch.found(Product, [planned["product_id"]])[planned["product_id"]]
        addons = batch.found(Addon, [held["addon_id"] for held in planned["addons"]])
        existing = batch.found(ScheduledChange, [planned["id"]]).get(planned["id"])
        if existing is not None:
            if existing.subscription_id == record.id:
                existing.cancelled_at = None
            continue
        batch.db.add(
            ScheduledChange(
                business_id=batch.business_id,
                account_id=batch.origin.account_id,
                id=planned["id"],
                customer_id=record.customer_id,
                subscription_id=record.id,
                product_id=product.id,
                quantity=planned["quantity"],
                unit_minor=product.price_minor,
                effective_at=planned["effective_at"],
                addons=[
                    {"addon_id": addon.id, "name": addon.name, "quantity": held["quantity"], "unit_minor": addon.price_minor}
                    for held in planned["addons"]
                    if (addon := addons.get(held["addon_id"]))
                ],
                created_at=planned["created_at"] or batch.at,
            )
        )
