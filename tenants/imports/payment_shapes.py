"""Shapes of subscriptions, payments and refunds for import (reference §2.3, §2.4)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from billing.model import bounds
from billing.model.imported_records import Record, Reference
from tenants.imports.discounts import Discounts, carried, unread
from tenants.imports.fields import (
    Address,
    Count,
    Currency,
    CustomerRef,
    DocumentNumber,
    Id,
    ImportedRecord,
    Instant,
    Interval,
    Items,
    Json,
    Metadata,
    Minor,
    Text,
    Words,
    within,
)

PaymentStatus = Literal[
    "succeeded", "failed", "cancelled", "processing", "requires_customer_action", "requires_merchant_action", "requires_payment_method",
    "requires_confirmation", "requires_capture", "partially_captured", "partially_captured_and_capturable",
]  # fmt: skip


MAX_ADDONS = 100  # per subscription


class SubscriptionAddonRecord(BaseModel):
    addon_id: Id
    quantity: Count


SubscriptionAddons = Annotated[list[SubscriptionAddonRecord], Field(max_length=MAX_ADDONS)]


class ScheduledChangeRecord(BaseModel):
    id: Id
    product_id: Id
    quantity: Count = 1
    effective_at: Instant
    created_at: Instant | None = None
    addons: SubscriptionAddons = []


class SubscriptionRecord(ImportedRecord):
    """`collected_by`: `us` requires a payment method of our own gateway; otherwise the name of the source."""

    subscription_id: Id
    customer: CustomerRef
    product_id: Id
    status: Literal["pending", "active", "on_hold", "paused", "past_due", "cancelled", "failed", "expired"]
    quantity: Count = 1
    currency: Currency | None = None
    recurring_pre_tax_amount: Minor | None = None
    tax_inclusive: bool | None = None
    addons: SubscriptionAddons = []
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
    scheduled_change: ScheduledChangeRecord | None = None
    collected_by: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,40}$")] | None = None

    @model_validator(mode="after")
    def _fits(self) -> SubscriptionRecord:
        bounds.period(self.payment_frequency_interval, self.payment_frequency_count)
        bounds.period(self.subscription_period_interval, self.subscription_period_count)
        within(self.recurring_pre_tax_amount, self.currency)
        return self


class CartItemRecord(BaseModel):
    product_id: Id
    quantity: Count = 1


class ServicePeriod(BaseModel):
    starts_at: Instant | None = None
    ends_at: Instant | None = None


class PaymentRecord(ImportedRecord):
    payment_id: Id
    customer: CustomerRef
    total_amount: Minor
    currency: Currency
    status: PaymentStatus = "succeeded"
    tax: Minor | None = None
    charge_type: Words | None = None
    subscription_id: Id | None = None
    product_cart: Annotated[list[CartItemRecord] | None, Field(max_length=100)] = None
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
    def _fits(self) -> PaymentRecord:
        within(self.total_amount, self.currency)
        if self.tax is not None and self.tax > self.total_amount:
            raise ValueError("tax must not be more than total_amount")
        return self


class RefundRecord(ImportedRecord):
    refund_id: Id
    payment_id: Id
    status: Literal["succeeded", "failed", "pending", "review"] = "succeeded"
    amount: Minor | None = None
    currency: Currency | None = None
    is_partial: bool | None = None
    reason: Text | None = None
    metadata: Metadata = {}

    @model_validator(mode="after")
    def _fits(self) -> RefundRecord:
        within(self.amount, self.currency)
        return self


def subscription(data: Json) -> Record:
    row = SubscriptionRecord.model_validate(data)
    refs = [Reference("customer.customer_id", "customer", row.customer.customer_id), Reference("product_id", "product", row.product_id)]
    refs += [Reference(f"addons.{n}.addon_id", "addon", item.addon_id) for n, item in enumerate(row.addons)]
    if row.payment_method_id and row.collected_by == "us":  # other payment methods are only known from payments
        refs.append(Reference("payment_method_id", "payment_method", row.payment_method_id, True))
    planned = row.scheduled_change
    if planned:
        refs.append(Reference("scheduled_change.product_id", "product", planned.product_id))
    return Record("subscription", row.subscription_id, {
        "product_id": row.product_id, "status": row.status, "quantity": row.quantity, "currency": row.currency,
        "tax_inclusive": row.tax_inclusive, "meters": row.meters,
        "discounts": carried(row.discounts), "interval": row.payment_frequency_interval,
        "interval_count": row.payment_frequency_count, "term_interval": row.subscription_period_interval,
        "term_count": row.subscription_period_count, "previous_billing_at": row.previous_billing_date,
        "next_billing_at": row.next_billing_date, "expires_at": row.expires_at, "trial_days": row.trial_period_days,
        "cancel_at_period_end": row.cancel_at_next_billing_date, "cancelled_at": row.cancelled_at,
        "cancelled_by": _cancelled_by(row.cancelled_by),
        "cancellation_feedback": row.cancellation_feedback, "cancellation_comment": row.cancellation_comment,
        "paused_at": row.paused_at, "billing": row.billing.stored(), "tax_id": row.tax_id, "business_name": row.customer_business_name,
        "payment_method_id": row.payment_method_id, "meta": row.metadata, "created_at": row.created_at,
    }, tuple(refs), row.customer.customer_id, {
        "amount": row.recurring_pre_tax_amount, "addons": [addon.model_dump() for addon in row.addons], "collected_by": row.collected_by,
        "planned": planned.model_dump() if planned else None, "on_demand": row.on_demand,
        "unread_discount": unread(row.discounts, row.discount_id, row.discount_cycles_remaining),
    })  # fmt: skip


def payment(data: Json) -> Record:
    row = PaymentRecord.model_validate(data)
    refs = [Reference("customer.customer_id", "customer", row.customer.customer_id)]
    refs += [Reference("subscription_id", "subscription", row.subscription_id, True)] if row.subscription_id else []
    cart = row.product_cart or []
    refs += [Reference(f"product_cart.{n}.product_id", "product", item.product_id) for n, item in enumerate(cart)]
    card = {
        "kind": row.payment_method,
        "brand": row.card_network,
        "last4": row.card_last_four,
        "expiry_month": row.card_exp_month,
        "expiry_year": row.card_exp_year,
        "holder": row.card_holder_name,
        "country": row.card_issuing_country,
    }
    span = row.service_periods[0] if row.service_periods else ServicePeriod()
    charge = row.charge_type if row.charge_type in ("new", "renewal", "plan_change", "on_demand") else "new"
    return Record("payment", row.payment_id, {
        "subscription_id": row.subscription_id, "amount_minor": row.total_amount, "tax_minor": row.tax or 0, "currency": row.currency,
        "status": row.status, "charge_type": charge, "method": card if any(card.values()) else {}, "billing": row.billing.stored(),
        "error_code": row.error_code, "error_message": row.error_message, "meta": row.metadata, "created_at": row.created_at,
        "updated_at": row.updated_at,
    }, tuple(refs), row.customer.customer_id, {
        "cart": [item.model_dump() for item in cart], "invoice_id": row.invoice_id, "method_id": row.payment_method_id,
        "starts_at": span.starts_at, "ends_at": span.ends_at,
    })  # fmt: skip


def _cancelled_by(cancelled_by: Json | None) -> Json | None:
    """Return who cancelled, if it is a known actor type."""
    actor_type = (cancelled_by or {}).get("actor_type")
    return {"type": actor_type} if actor_type in ("customer", "merchant_user", "api_key", "dodo_team") else None


def refund(data: Json) -> Record:
    row = RefundRecord.model_validate(data)
    return Record("refund", row.refund_id, {
        "payment_id": row.payment_id, "amount_minor": row.amount, "currency": row.currency, "status": row.status, "reason": row.reason,
        "is_partial": row.is_partial, "meta": row.metadata, "created_at": row.created_at,
    }, (Reference("payment_id", "payment", row.payment_id),))  # fmt: skip
