"""Subscriptions of Stripe as records. The first item that is not billed by usage is the plan; the other items are add-ons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from billing.model.imported_records import Record
from tenants.external.stripe.billing_details import details_of
from tenants.external.stripe.catalogue import INTERVALS, is_by_use
from tenants.external.stripe.customers import payment_method
from tenants.external.stripe.values import child, children, currency, id_of, moment
from tenants.external.system import Json
from tenants.imports.shapes import record

STATUSES = {
    "incomplete": "pending", "incomplete_expired": "failed", "trialing": "active", "active": "active", "past_due": "on_hold",
    "unpaid": "on_hold", "canceled": "cancelled", "paused": "paused",
}  # fmt: skip
FEEDBACK = frozenset({
    "customer_service", "low_quality", "missing_features", "other", "switched_service", "too_complex", "too_expensive", "unused",
})  # fmt: skip
DAY = 86_400


def subscription(data: Json, discounts: Sequence[Json] = ()) -> list[Record]:
    """Return a subscription with its discounts, and its payment method. Raises ValueError for one without items."""
    plan, *more = items_of(data)
    buyer = data.get("customer")
    price, quantity = child(plan, "price") or {}, plan.get("quantity")
    status = STATUSES[data["status"]]
    if status == "active" and data.get("pause_collection"):
        status = "paused"  # at Stripe it stays active while nothing is collected
    method = _method(data, buyer)
    details = details_of(buyer)
    feedback = child(data, "cancellation_details", "feedback")
    ends, cancel_at = _number(plan.get("current_period_end")), data.get("cancel_at")
    found = record("subscription", {
        "subscription_id": data.get("id"), "customer": {"customer_id": id_of(buyer)}, "product_id": id_of(price), "status": status,
        "quantity": quantity or 1, "currency": currency(data.get("currency")), "recurring_pre_tax_amount": 0 if quantity == 0 else None,
        "addons": [{"addon_id": id_of(item.get("price")), "quantity": item.get("quantity") or 1} for item in more],
        "payment_frequency_interval": INTERVALS.get(child(price, "recurring", "interval")),
        "payment_frequency_count": child(price, "recurring", "interval_count"),
        "previous_billing_date": moment(plan.get("current_period_start")), "next_billing_date": moment(plan.get("current_period_end")),
        "expires_at": moment(cancel_at), "trial_period_days": _trial_days(data),
        "cancel_at_next_billing_date": bool(data.get("cancel_at_period_end")) or (cancel_at is not None and _number(cancel_at) <= ends),
        "cancelled_at": moment(data.get("canceled_at") or data.get("ended_at")) if status == "cancelled" else None,
        "cancellation_feedback": feedback if feedback in FEEDBACK else None,
        "cancellation_comment": child(data, "cancellation_details", "comment"),
        "billing": details["billing"], "tax_id": details["tax_id"], "customer_business_name": details["business_name"],
        "payment_method_id": id_of(method), "metadata": data.get("metadata"), "discounts": list(discounts),
        "created_at": moment(data.get("start_date") or data.get("created")),
    })  # fmt: skip
    compared = {"billing_name": details["name"], "tax_ids": details["tax_ids"]}  # billing/external/details.py
    return [*payment_method(method, id_of(buyer)), replace(found, more=found.more | compared)]


def items_of(data: Json) -> list[Json]:
    """Return the items, the plan first. Raises ValueError without one."""
    items = sorted(children(data, "items"), key=lambda item: (is_by_use(child(item, "price") or {}), _number(item.get("created"))))
    if not items:
        raise ValueError("it has no items")
    return items


def _method(data: Json, buyer: Any) -> Any:
    """Return the payment method: the subscription's own, else the customer's default."""
    return data.get("default_payment_method") or child(buyer, "invoice_settings", "default_payment_method")


def _trial_days(data: Json) -> int:
    """Return the days of a trial, rounded up."""
    ends, begins = _number(data.get("trial_end")), _number(data.get("start_date") or data.get("created"))
    return max(0, -(-(ends - begins) // DAY)) if ends else 0


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
