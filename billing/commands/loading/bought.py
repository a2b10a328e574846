"""Loading subscriptions, and what changed of them since they were told last."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from billing.calendar import add, nth
from billing.catalogue import Addon, Product
from billing.commands.loading.batch import Batch
from billing.commands.loading.parties import mention
from billing.loaded import Record
from billing.parties import Customer
from billing.quotes import ScheduledChange
from billing.subscriptions import Subscription
from core.errors import Invalid

_BECAME = {"on_hold": "subscription.on_hold", "past_due": "subscription.past_due", "cancelled": "subscription.cancelled",
           "expired": "subscription.expired", "failed": "subscription.failed", "paused": "subscription.paused"}
_SEARCH = 1200  # periods: a hundred years of months


def subscriptions(batch: Batch, records: list[Record]) -> None:
    rows = batch.found(Subscription, [one.id for one in records])
    products = batch.found(Product, [one.values["product_id"] for one in records])
    addons = batch.found(Addon, [held["addon_id"] for one in records for held in one.more["addons"]])
    buyers = batch.found(Customer, [one.customer_id for one in records], "customer_id")
    named = {one.values["payment_method_id"]: str(one.customer_id) for one in records if one.values["payment_method_id"]}
    known = mention(batch, {method_id: (customer_id, {}) for method_id, customer_id in named.items()})
    loaded: set[str] = set()
    for one in records:
        row, product, buyer = rows.get(one.id), products[one.values["product_id"]], buyers[str(one.customer_id)]
        if row is not None and (row.collected_by != batch.source or row.customer_id != one.customer_id):
            continue  # collected here by now, or moved to another customer: what the other system says of it no longer counts
        collected_by = batch.source if row is not None or batch.origin.is_mirror else one.more.get("collected_by") or batch.source
        if collected_by == "us" and product.price_type == "usage_based_price":
            raise Invalid(fields={"product_id": f"{one.id}: use is not counted here, so what is sold by it cannot be collected by us."})
        values = _columns(batch, one, product, addons, collected_by)
        method_id = one.values["payment_method_id"]
        values["payment_method_id"] = method_id if method_id in known and known[method_id].customer_id == buyer.customer_id else None
        if row is not None and "tax_bps" in row.billing and row.billing.get("country") == one.values["billing"].get("country"):
            values["billing"] = {**one.values["billing"], "tax_bps": row.billing["tax_bps"]}
        if not buyer.billing and one.values["billing"] and buyer.account_id == batch.origin.account_id:
            buyer.billing = one.values["billing"]
        if row is None:
            row = batch.write(Subscription, one, None, customer_id=one.customer_id, brand_id=product.brand_id, zone=batch.business.zone,
                              collected_by=collected_by, credit_minor=0, **values)
            batch.told("subscription.loaded", one.id, buyer.customer_id)
        else:
            before = _state(row)
            batch.write(Subscription, one, row, **values)
            _story(batch, row, before, product)
        loaded.add(one.id)
    batch.db.flush()
    _planned(batch, records, loaded)


def _columns(batch: Batch, one: Record, product: Product, addons: dict[str, Addon], collected_by: str) -> dict[str, Any]:
    """What the source leaves to the product, and what is kept here in other words."""
    told = one.values
    held = [{"addon_id": addon.id, "name": addon.name, "quantity": have["quantity"], "unit_minor": addon.price_minor}
            for have in one.more["addons"] for addon in [addons[have["addon_id"]]]]
    extra = sum(have["quantity"] * have["unit_minor"] for have in held)
    amount = one.more["amount"] if one.more["amount"] is not None else product.price_minor * told["quantity"] + extra
    values: dict[str, Any] = {
        "currency": told["currency"] or product.currency, "addons": held, "unit_minor": max(amount - extra, 0) // told["quantity"],
        "tax_inclusive": product.tax_inclusive if told["tax_inclusive"] is None else told["tax_inclusive"],
        "interval": told["interval"] or product.interval or "Month", "interval_count": told["interval_count"] or product.interval_count,
        "term_interval": told["term_interval"] or product.term_interval or "Year", "term_count": told["term_count"] or product.term_count,
    }
    began, ends = told["created_at"] or batch.at, told["next_billing_at"]
    values["expires_at"] = told["expires_at"] or add(began, batch.business.zone, values["term_interval"], values["term_count"])
    trial_ends = began + timedelta(days=told["trial_days"]) if told["trial_days"] else None
    values["trial_ends_at"] = trial_ends
    values["period_n"] = values["anchor_n"] = 0 if trial_ends and trial_ends > batch.at else 1
    values["anchor_at"] = began
    if told["status"] in ("on_hold", "past_due"):
        values["on_hold_at"] = ends if ends and ends <= batch.at else batch.at
    if told["status"] == "paused":
        values["paused_at"] = told["paused_at"] or batch.at
    if collected_by == "us" and ends:
        values |= _anchor(batch.business.zone, values, began, ends)
    values["discounts"] = [{**held, "since": values["period_n"] + 1} for held in told.get("discounts") or ()]
    return values


def _anchor(zone: str, values: dict[str, Any], began: datetime, ends: datetime) -> dict[str, Any]:
    """The day it began, where its dates count from there (the 31st stays the 31st); else its next date."""
    n = 1
    while n < _SEARCH and (date := nth(began, zone, values["interval"], values["interval_count"], n)) <= ends:
        if date == ends:
            return {"anchor_at": began, "anchor_n": 0, "period_n": n}
        n += 1
    return {"anchor_at": ends, "anchor_n": values["period_n"], "period_n": values["period_n"]}


def _state(row: Subscription) -> dict[str, Any]:
    return {name: getattr(row, name) for name in
            ("status", "next_billing_at", "cancel_at_period_end", "product_id", "quantity", "payment_method_id")}


def _story(batch: Batch, row: Subscription, before: dict[str, Any], product: Product) -> None:
    """What a customer would want to read of the difference."""
    at = row.next_billing_at.isoformat() if row.next_billing_at else None
    tell = lambda type, **data: batch.told(type, row.id, row.customer_id, next_billing_at=at, **data)  # noqa: E731
    was = before["status"]
    if row.status != was and row.status in _BECAME:
        tell(_BECAME[row.status], ends_at=at)
    elif row.status != was and row.status == "active":
        tell("subscription.unpaused" if was == "paused" else "subscription.active", reactivated=was in ("on_hold", "past_due"))
    if (before["product_id"], before["quantity"]) != (row.product_id, row.quantity):
        tell("subscription.plan_changed", product=product.name, quantity=row.quantity)
    elif row.status == was == "active" and at and before["next_billing_at"] and row.next_billing_at > before["next_billing_at"]:
        tell("subscription.renewed")
    if row.cancel_at_period_end and not before["cancel_at_period_end"]:
        tell("subscription.cancellation_scheduled", ends_at=at)
    elif before["cancel_at_period_end"] and not row.cancel_at_period_end and row.status not in ("cancelled", "expired"):
        tell("subscription.cancellation_revoked", ends_at=at)
    if row.payment_method_id and before["payment_method_id"] not in (None, row.payment_method_id):
        tell("subscription.update_payment_method", payment_method_id=row.payment_method_id)


def _planned(batch: Batch, records: list[Record], loaded: set[str]) -> None:
    """The change that waits there for the next billing date stands here as well; one that waits no more does not."""
    ids = [one.id for one in records]
    open_ones = {row.subscription_id: row for row in batch.db.scalars(
        select(ScheduledChange).where(ScheduledChange.subscription_id.in_(ids), ScheduledChange.cancelled_at.is_(None),
                                      ScheduledChange.applied_at.is_(None)))}
    for one in records:
        planned, row = one.more["planned"], open_ones.get(one.id)
        if one.id not in loaded:
            continue
        if row is not None and (planned is None or row.id != planned["id"]):
            row.cancelled_at = batch.at
            batch.db.flush()
            row = None
        if planned is None or row is not None:
            continue
        product = batch.found(Product, [planned["product_id"]])[planned["product_id"]]
        addons = batch.found(Addon, [held["addon_id"] for held in planned["addons"]])
        kept = batch.found(ScheduledChange, [planned["id"]]).get(planned["id"])
        if kept is not None:
            if kept.subscription_id == one.id:
                kept.cancelled_at = None
            continue
        batch.db.add(ScheduledChange(
            business_id=batch.business_id, account_id=batch.origin.account_id, id=planned["id"], customer_id=one.customer_id,
            subscription_id=one.id, product_id=product.id,
            quantity=planned["quantity"], unit_minor=product.price_minor, effective_at=planned["effective_at"],
            addons=[{"addon_id": addon.id, "name": addon.name, "quantity": held["quantity"], "unit_minor": addon.price_minor}
                    for held in planned["addons"] if (addon := addons.get(held["addon_id"]))],
            created_at=planned["created_at"] or batch.at,
        ))
