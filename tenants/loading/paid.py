"""What was bought and paid (reference §2.3, §2.4): subscriptions, payments, refunds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from billing import bounds
from billing.loaded import Record, Reference
from tenants.loading.discounts import Discounts, carried, unread
from tenants.loading.fields import (
    Address,
    Buyer,
    Count,
    Currency,
    DocumentNumber,
    Id,
    Instant,
    Interval,
    Items,
    Json,
    Metadata,
    Minor,
    Text,
    Told,
    Words,
    within,
)

PaymentStatus = Literal[
    "succeeded", "failed", "cancelled", "processing", "requires_customer_action", "requires_merchant_action", "requires_payment_method",
    "requires_confirmation", "requires_capture", "partially_captured", "partially_captured_and_capturable",
]  # fmt: skip


MOST_ADDONS = 100  # of one subscription


class AddonHeld(BaseModel):
    addon_id: Id
    quantity: Count


Held = Annotated[list[AddonHeld], Field(max_length=MOST_ADDONS)]


class Planned(BaseModel):
    id: Id
    product_id: Id
    quantity: Count = 1
    effective_at: Instant
    created_at: Instant | None = None
    addons: Held = []


class Subscription(Told):
    """`collected_by`: `us` only where the method that pays is one of our own gateway's; otherwise whatever the source is called."""

    subscription_id: Id
    customer: Buyer
    product_id: Id
    status: Literal["pending", "active", "on_hold", "paused", "past_due", "cancelled", "failed", "expired"]
    quantity: Count = 1
    currency: Currency | None = None
    recurring_pre_tax_amount: Minor | None = None
    tax_inclusive: bool | None = None
    addons: Held = []
    discounts: Annotated[Discounts, BeforeValidator(lambda value: value or [])] = []
    discount_id: Id | None = None
    discount_cycles_remaining: Annotated[int, Field(ge=0, le=100_000)] | None = None
    on_demand: bool = False
    meters: Items = []
    payment_frequency_count: Count | None = None
    payment_frequency_interval: Interval | None = None
    subscription_period_count: Count | None = None
    subscription_period_interval: Interval | None = None
    previous_billing_date: Instant | None = None
    next_billing_date: Instant | None = None
    expires_at: Instant | None = None
    trial_period_days: Annotated[int, Field(ge=0, le=10_000)] = 0
    cancel_at_next_billing_date: bool = False
    cancelled_at: Instant | None = None
    cancelled_by: Json | None = None
    cancellation_feedback: Words | None = None
    cancellation_comment: Text | None = None
    paused_at: Instant | None = None
    billing: Address = Address()
    tax_id: Words | None = None
    customer_business_name: Words | None = None
    payment_method_id: Id | None = None
    metadata: Metadata = {}
    scheduled_change: Planned | None = None
    collected_by: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,40}$")] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Subscription:
        bounds.period(self.payment_frequency_interval, self.payment_frequency_count)
        bounds.period(self.subscription_period_interval, self.subscription_period_count)
        within(self.recurring_pre_tax_amount, self.currency)
        return self


class CartItem(BaseModel):
    product_id: Id
    quantity: Count = 1


class ServicePeriod(BaseModel):
    starts_at: Instant | None = None
    ends_at: Instant | None = None


class Payment(Told):
    payment_id: Id
    customer: Buyer
    total_amount: Minor
    currency: Currency
    status: PaymentStatus = "succeeded"
    tax: Minor | None = None
    charge_type: Words | None = None
    subscription_id: Id | None = None
    product_cart: Annotated[list[CartItem] | None, Field(max_length=100)] = None
    billing: Address = Address()
    payment_method: Words | None = None
    payment_method_id: Id | None = None
    card_network: Words | None = None
    card_last_four: Annotated[str, Field(pattern=r"^[0-9]{4}$")] | None = None
    card_exp_month: Annotated[int, Field(ge=1, le=12)] | None = None
    card_exp_year: Annotated[int, Field(ge=1970, le=2200)] | None = None
    card_holder_name: Words | None = None
    card_issuing_country: Words | None = None
    error_code: Words | None = None
    error_message: Text | None = None
    invoice_id: DocumentNumber | None = None
    service_periods: Annotated[list[ServicePeriod], BeforeValidator(lambda value: value or []), Field(max_length=100)] = []
    metadata: Metadata = {}
    updated_at: Instant | None = None

    @model_validator(mode="after")
    def _fits(self) -> Payment:
        within(self.total_amount, self.currency)
        if self.tax is not None and self.tax > self.total_amount:
            raise ValueError("the tax is more than the amount that it is part of")
        return self


class Refund(Told):
    refund_id: Id
    payment_id: Id
    status: Literal["succeeded", "failed", "pending", "review"] = "succeeded"
    amount: Minor | None = None
    currency: Currency | None = None
    is_partial: bool | None = None
    reason: Text | None = None
    metadata: Metadata = {}

    @model_validator(mode="after")
    def _fits(self) -> Refund:
        within(self.amount, self.currency)
        return self


def subscription(data: Json) -> Record:
    told = Subscription.model_validate(data)
    refs = [Reference("customer.customer_id", "customer", told.customer.customer_id), Reference("product_id", "product", told.product_id)]
    refs += [Reference(f"addons.{n}.addon_id", "addon", one.addon_id) for n, one in enumerate(told.addons)]
    if told.payment_method_id and told.collected_by == "us":  # any other is only mentioned, with what payments tell of it
        refs.append(Reference("payment_method_id", "payment_method", told.payment_method_id, True))
    planned = told.scheduled_change
    if planned:
        refs.append(Reference("scheduled_change.product_id", "product", planned.product_id))
    return Record("subscription", told.subscription_id, {
        "product_id": told.product_id, "status": told.status, "quantity": told.quantity, "currency": told.currency,
        "tax_inclusive": told.tax_inclusive, "meters": told.meters,
        "discounts": carried(told.discounts), "interval": told.payment_frequency_interval,
        "interval_count": told.payment_frequency_count, "term_interval": told.subscription_period_interval,
        "term_count": told.subscription_period_count, "previous_billing_at": told.previous_billing_date,
        "next_billing_at": told.next_billing_date, "expires_at": told.expires_at, "trial_days": told.trial_period_days,
        "cancel_at_period_end": told.cancel_at_next_billing_date, "cancelled_at": told.cancelled_at,
        "cancelled_by": _who(told.cancelled_by),
        "cancellation_feedback": told.cancellation_feedback, "cancellation_comment": told.cancellation_comment,
        "paused_at": told.paused_at, "billing": told.billing.stored(), "tax_id": told.tax_id, "business_name": told.customer_business_name,
        "payment_method_id": told.payment_method_id, "meta": told.metadata, "created_at": told.created_at,
    }, tuple(refs), told.customer.customer_id, {
        "amount": told.recurring_pre_tax_amount, "addons": [one.model_dump() for one in told.addons], "collected_by": told.collected_by,
        "planned": planned.model_dump() if planned else None, "on_demand": told.on_demand,
        "unread_discount": unread(told.discounts, told.discount_id, told.discount_cycles_remaining),
    })  # fmt: skip


def payment(data: Json) -> Record:
    told = Payment.model_validate(data)
    refs = [Reference("customer.customer_id", "customer", told.customer.customer_id)]
    refs += [Reference("subscription_id", "subscription", told.subscription_id, True)] if told.subscription_id else []
    cart = told.product_cart or []
    refs += [Reference(f"product_cart.{n}.product_id", "product", one.product_id) for n, one in enumerate(cart)]
    card = {"kind": told.payment_method, "brand": told.card_network, "last4": told.card_last_four, "expiry_month": told.card_exp_month,
            "expiry_year": told.card_exp_year, "holder": told.card_holder_name, "country": told.card_issuing_country}
    span = told.service_periods[0] if told.service_periods else ServicePeriod()
    charge = told.charge_type if told.charge_type in ("new", "renewal", "plan_change", "on_demand") else "new"
    return Record("payment", told.payment_id, {
        "subscription_id": told.subscription_id, "amount_minor": told.total_amount, "tax_minor": told.tax or 0, "currency": told.currency,
        "status": told.status, "charge_type": charge, "method": card if any(card.values()) else {}, "billing": told.billing.stored(),
        "error_code": told.error_code, "error_message": told.error_message, "meta": told.metadata, "created_at": told.created_at,
        "updated_at": told.updated_at,
    }, tuple(refs), told.customer.customer_id, {
        "cart": [one.model_dump() for one in cart], "invoice_id": told.invoice_id, "method_id": told.payment_method_id,
        "starts_at": span.starts_at, "ends_at": span.ends_at,
    })  # fmt: skip


def _who(told: Json | None) -> Json | None:
    """Who canceled: one of the words that pages know."""
    who = (told or {}).get("actor_type")
    return {"type": who} if who in ("customer", "merchant_user", "api_key", "dodo_team") else None


def refund(data: Json) -> Record:
    told = Refund.model_validate(data)
    return Record("refund", told.refund_id, {
        "payment_id": told.payment_id, "amount_minor": told.amount, "currency": told.currency, "status": told.status, "reason": told.reason,
        "is_partial": told.is_partial, "meta": told.metadata, "created_at": told.created_at,
    }, (Reference("payment_id", "payment", told.payment_id),))  # fmt: skip
