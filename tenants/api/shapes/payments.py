"""Payment and Refund (reference §2.4), in full and as a list item."""

from __future__ import annotations

from billing.documents.links import document_url
from billing.history.api_lists import PaymentWithContext
from billing.model.disputes import Dispute
from billing.model.parties import Customer
from billing.model.payments import Payment, Refund
from core.request_context import services
from tenants.api.shapes import CustomerLimited, Json, Shape, Stamp, billing_shape
from tenants.api.shapes.discounts import DiscountDetail, discount_details, discount_ids
from tenants.api.shapes.disputes import PaymentDispute

CHARGE_TYPES = frozenset({"new", "renewal", "plan_change", "on_demand"})


class PaymentItem(Shape):
    brand_id: str
    created_at: Stamp
    currency: str
    customer: CustomerLimited
    digital_products_delivered: bool
    has_license_key: bool
    includes_usage: bool = False
    is_multi_subscription: bool = False
    metadata: Json
    payment_id: str
    payment_provider: str = "dodo"
    retry_attempt: int
    service_periods: list[Json]
    subscription_ids: list[str]
    total_amount: int
    card_exp_month: str | None
    card_exp_year: str | None
    card_last_four: str | None
    card_network: str | None
    card_type: str | None = None
    charge_type: str | None
    checkout_session_id: str | None = None
    dispute_status: str | None = None
    invoice_id: str | None
    invoice_url: str | None
    payment_method: str | None
    payment_method_type: str | None = None
    refund_status: str | None
    status: str
    subscription_id: str | None
    three_ds_flow: str | None
    three_ds_status: str | None = None
    three_ds_version: str | None = None

    @classmethod
    def of(cls, paid: PaymentWithContext) -> PaymentItem:
        return cls.model_validate(_common(paid))


class PaymentShape(PaymentItem):
    billing: Json
    business_id: str
    disputes: list[Json] = []
    is_update_payment_method: bool
    refunds: list[Json]
    settlement_amount: int
    settlement_currency: str
    card_holder_name: str | None
    card_issuing_country: str | None
    custom_field_responses: list[Json] | None = None
    discount_id: str | None = None
    discounts: list[DiscountDetail]
    error_code: str | None
    error_message: str | None
    payment_link: str | None
    payment_method_id: str | None
    product_cart: list[Json] | None
    settlement_tax: int | None
    tax: int | None
    updated_at: Stamp

    @classmethod
    def of(cls, paid: PaymentWithContext, refunds: list[Refund] | None = None, disputes: list[Dispute] | None = None) -> PaymentShape:
        row, method = paid.payment, paid.payment.method or {}
        return cls.model_validate({
            **_common(paid), "billing": billing_shape(row.billing, paid.customer), "business_id": row.business_id,
            "is_update_payment_method": row.charge_type not in CHARGE_TYPES and row.amount_minor == 0,
            "disputes": [PaymentDispute.of(dispute).json() for dispute in disputes or []],
            "dispute_status": disputes[-1].status if disputes else None,
            "refunds": [RefundItem.of(refund).json() for refund in refunds or []], "settlement_amount": row.amount_minor,
            "settlement_currency": row.currency, "card_holder_name": method.get("holder"), "card_issuing_country": method.get("country"),
            "error_code": row.error_code, "error_message": row.error_message, "payment_link": row.hosted_url if row.is_open else None,
            "payment_method_id": row.payment_method_id, "product_cart": _cart(row), "settlement_tax": row.tax_minor,
            "tax": row.tax_minor, "updated_at": row.updated_at, "discounts": discount_details(row.discounts, row.business_id),
            "discount_id": discount_ids(row.discounts)["discount_id"],
        })  # fmt: skip


class _RefundFields(Shape):
    business_id: str
    created_at: Stamp
    is_partial: bool
    payment_id: str
    refund_id: str
    status: str
    amount: int
    currency: str
    network_reference: str | None = None
    network_reference_type: str | None = None
    network_reference_updated_at: Stamp | None = None
    reason: str | None


class RefundItem(_RefundFields):
    @classmethod
    def of(cls, row: Refund) -> RefundItem:
        return cls.model_validate(_refund(row))


class RefundShape(_RefundFields):
    brand_id: str
    customer: CustomerLimited
    metadata: Json

    @classmethod
    def of(cls, row: Refund, customer: Customer) -> RefundShape:
        details = {"brand_id": row.brand_id, "customer": CustomerLimited.of(customer), "metadata": row.meta or {}}
        return cls.model_validate({**_refund(row), **details})


def _refund(row: Refund) -> Json:
    return {
        "business_id": row.business_id, "created_at": row.created_at, "is_partial": row.is_partial, "payment_id": row.payment_id,
        "refund_id": row.id, "status": row.status, "amount": row.amount_minor, "currency": row.currency, "reason": row.reason,
    }  # fmt: skip


def _common(paid: PaymentWithContext) -> Json:
    row, method, subscription_ids = (
        paid.payment,
        paid.payment.method or {},
        [paid.payment.subscription_id] if paid.payment.subscription_id else [],
    )
    year, month = method.get("expiry_year"), method.get("expiry_month")
    succeeded = row.status == "succeeded"
    periods: list[Json] = []
    if succeeded and subscription_ids and paid.starts_at and paid.ends_at and row.charge_type in ("new", "renewal", "plan_change"):
        span = {"starts_at": paid.starts_at.isoformat().replace("+00:00", "Z"), "ends_at": paid.ends_at.isoformat().replace("+00:00", "Z")}
        periods = [{"subscription_id": subscription_ids[0], **span, "proration_factor": "1"}]
    return {
        "brand_id": row.brand_id, "created_at": row.created_at, "currency": row.currency, "customer": CustomerLimited.of(paid.customer),
        "digital_products_delivered": succeeded and (paid.has_license_key or paid.has_download), "has_license_key": paid.has_license_key,
        "metadata": row.meta or {}, "payment_id": row.id, "retry_attempt": max(row.attempt - 1, 0) if row.charge_type == "renewal" else 0,
        "service_periods": periods, "subscription_ids": subscription_ids, "total_amount": row.amount_minor,
        "card_exp_month": f"{int(month):02}" if month else None, "card_exp_year": str(year) if year else None,
        "card_last_four": method.get("last4"), "card_network": method.get("brand"),
        "charge_type": row.charge_type if subscription_ids and row.charge_type in CHARGE_TYPES else None, "invoice_id": row.invoice_id,
        "invoice_url": document_url(services().settings, "payments", row.business_id, row.id) if row.invoice_id else None,
        "payment_method": method.get("kind") or ("card" if method else None),
        "refund_status": None if not row.refunded_minor else "full" if row.refunded_minor >= row.amount_minor else "partial",
        "status": row.status, "subscription_id": row.subscription_id, "three_ds_flow": "challenge" if row.challenged else None,
    }  # fmt: skip


def _cart(row: Payment) -> list[Json] | None:
    if row.subscription_id or not row.cart:
        return None
    return [{"product_id": item["product_id"], "quantity": item["quantity"]} for item in row.cart if item.get("product_id")]
