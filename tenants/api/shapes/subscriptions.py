"""Subscription (reference §2.3), in full and as a list item."""

from __future__ import annotations

from billing.history import api_lists as read
from billing.model.discounts import cycles_left
from billing.model.parties import Customer
from billing.model.quotes import ScheduledChange
from billing.model.subscriptions import Subscription
from billing.plan_changes.scheduled import Planned, scheduled
from core.db import ScopedSession
from tenants.api.shapes import CustomerLimited, Json, Shape, Stamp, billing_shape, stamp
from tenants.api.shapes.discounts import discount_details, discount_ids, discount_summaries


class SubscriptionItem(Shape):
    billing: Json
    cancel_at_next_billing_date: bool
    created_at: Stamp
    currency: str
    customer: CustomerLimited
    discounts: list[Json] = []
    has_payment_method: bool
    metadata: Json
    next_billing_date: Stamp
    on_demand: bool = False
    payment_frequency_count: int
    payment_frequency_interval: str
    previous_billing_date: Stamp
    product_id: str
    quantity: int
    recurring_pre_tax_amount: int
    status: str
    subscription_id: str
    subscription_period_count: int
    subscription_period_interval: str
    tax_inclusive: bool
    trial_period_days: int
    cancelled_at: Stamp | None
    cancelled_by: Json | None
    customer_business_name: str | None
    discount_cycles_remaining: int | None = None
    discount_id: str | None = None
    paused_at: Stamp | None
    payment_method_id: str | None
    product_name: str | None
    scheduled_change: Json | None
    tax_id: str | None
    trial_amount: int | None = None

    @classmethod
    def of(cls, row: Subscription, customer: Customer, product_name: str | None, planned: Planned | None = None) -> SubscriptionItem:
        return cls.model_validate(_common(row, customer, product_name, planned))


class SubscriptionShape(SubscriptionItem):
    addons: list[Json]
    brand_id: str
    credit_entitlement_cart: list[Json] = []
    meter_credit_entitlement_cart: list[Json] = []
    meters: list[Json]
    cancellation_comment: str | None
    cancellation_feedback: str | None
    custom_field_responses: list[Json] | None = None
    expires_at: Stamp | None

    @classmethod
    def of(cls, row: Subscription, customer: Customer, product_name: str | None, planned: Planned | None = None) -> SubscriptionShape:
        return cls.model_validate({
            **_common(row, customer, product_name, planned), "addons": addons_shape(row.addons), "brand_id": row.brand_id,
            "meters": [meter_shape(meter, row.currency) for meter in row.meters or []], "cancellation_comment": row.cancellation_comment,
            "cancellation_feedback": row.cancellation_feedback, "expires_at": row.expires_at,
            "discounts": [detail.model_dump() for detail in discount_details(row.discounts, row.business_id, row.period_n)],
        })  # fmt: skip


def subscription_shape(db: ScopedSession, subscription_id: str) -> SubscriptionShape:
    """Return a subscription with its scheduled plan change. Raises NotFound."""
    return SubscriptionShape.of(*read.subscription(db, subscription_id), scheduled(db, [subscription_id]).get(subscription_id))


def recurring_minor(row: Subscription) -> int:
    """Return the price of one period before tax, add-ons included, in minor units."""
    return row.quantity * row.unit_minor + sum(int(addon["quantity"]) * int(addon["unit_minor"]) for addon in row.addons or [])


def addons_shape(addons: list[Json] | None) -> list[Json]:
    return [{"addon_id": addon["addon_id"], "quantity": addon["quantity"]} for addon in addons or []]


def _common(row: Subscription, customer: Customer, product_name: str | None, planned: Planned | None) -> Json:
    return {
        "billing": billing_shape(row.billing, customer), "cancel_at_next_billing_date": row.cancel_at_period_end,
        "created_at": row.created_at, "currency": row.currency, "customer": CustomerLimited.of(customer),
        "has_payment_method": row.payment_method_id is not None, "metadata": row.meta or {},
        # the contract requires dates: a subscription that has not started has its creation date
        "next_billing_date": row.next_billing_at or row.expires_at or row.created_at,
        "previous_billing_date": row.previous_billing_at or row.created_at,
        "payment_frequency_count": row.interval_count, "payment_frequency_interval": row.interval, "product_id": row.product_id,
        "quantity": row.quantity, "recurring_pre_tax_amount": recurring_minor(row), "status": row.status, "subscription_id": row.id,
        "subscription_period_count": row.term_count, "subscription_period_interval": row.term_interval,
        "tax_inclusive": row.tax_inclusive, "trial_period_days": row.trial_days, "cancelled_at": row.cancelled_at,
        "cancelled_by": _cancelled_by(row, customer), "customer_business_name": row.business_name, "paused_at": row.paused_at,
        "payment_method_id": row.payment_method_id, "product_name": product_name, "tax_id": row.tax_id,
        "scheduled_change": _scheduled(*planned) if planned else None,
        "discounts": discount_summaries(row.discounts, row.period_n), "discount_id": discount_ids(row.discounts)["discount_id"],
        "discount_cycles_remaining": cycles_left(row.discounts[0], row.period_n) if row.discounts else None,
    }  # fmt: skip


def _scheduled(change: ScheduledChange, name: str, description: str) -> Json:
    return {
        "id": change.id, "created_at": stamp(change.created_at), "effective_at": stamp(change.effective_at),
        "addons": [{"addon_id": addon["addon_id"], "name": addon["name"], "quantity": addon["quantity"]} for addon in change.addons],
        "product_id": change.product_id, "quantity": change.quantity, "product_name": name, "product_description": description or None,
    }  # fmt: skip


def _cancelled_by(row: Subscription, customer: Customer) -> Json | None:
    kind = (row.cancelled_by or {}).get("type") or (row.cancelled_by or {}).get("actor_type")
    if kind is None:
        return None
    is_customer = kind == "customer"
    return {"actor_type": kind, "email": customer.email if is_customer else None, "name": customer.name if is_customer else None}


def meter_shape(json: Json, currency: str) -> Json:
    """Return a meter of a subscription. Quantities and prices are decimals as strings."""
    price = json.get("price_per_unit")
    return {
        "currency": json.get("currency") or currency, "free_threshold": int(json.get("free_threshold") or 0),
        "measurement_unit": json.get("measurement_unit") or "", "meter_id": json["meter_id"], "name": json.get("name") or "",
        "description": json.get("description"), "price_per_unit": None if price is None else str(price),
    }  # fmt: skip
