"""Payments and refunds of Stripe as records. A payment of an invoice has the id of its PaymentIntent; any other that of its charge."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from billing.model.imported_records import Record
from tenants.external.stripe.customers import card
from tenants.external.stripe.values import address, child, children, currency, id_of, minor, moment
from tenants.external.system import Json
from tenants.imports.shapes import record

REASONS = {"subscription_create": "new", "subscription_cycle": "renewal", "subscription_update": "plan_change"}
CHARGED = {"succeeded": "succeeded", "pending": "processing", "failed": "failed"}
WAITING = {"processing": "processing", "requires_action": "requires_customer_action"}
REFUNDED = {"succeeded": "succeeded", "failed": "failed", "canceled": "failed", "pending": "pending", "requires_action": "pending"}
MOST_LINES = 100


def invoice_payment(data: Json) -> list[Record]:
    """Return the payment of an invoice; none before it was tried, for one without a customer, and for one that is no PaymentIntent."""
    invoice, intent = child(data, "invoice"), child(data, "payment", "payment_intent")
    charge, status = child(intent, "latest_charge"), _status(data, intent)
    buyer = id_of(child(invoice, "customer"))
    if not isinstance(intent, dict) or not isinstance(invoice, dict) or status is None or buyer is None:
        return []
    code = currency(data.get("currency"))
    amount = minor(data["amount_paid"] if status == "succeeded" else data.get("amount_requested"), code)
    parent, lines = child(invoice, "parent", "subscription_details"), children(invoice, "lines")[:MOST_LINES]
    period = child(lines[0], "period") if lines else None
    return [record("payment", {
        **_charge_facts(charge if isinstance(charge, dict) else {}),
        "payment_id": intent.get("id"), "customer": {"customer_id": buyer}, "total_amount": amount, "currency": code, "status": status,
        "tax": _tax(invoice, amount, code), "charge_type": REASONS.get(str(invoice.get("billing_reason")), "on_demand"),
        "subscription_id": id_of(child(parent, "subscription")), "product_cart": cart_of(lines),
        "billing": address(invoice.get("customer_address")), "invoice_id": invoice.get("number"), "metadata": invoice.get("metadata"),
        "service_periods": [{"starts_at": moment(child(period, "start")), "ends_at": moment(child(period, "end"))}] if period else [],
        "created_at": moment(data.get("created")),
    })]  # fmt: skip


def charge(data: Json) -> list[Record]:
    """Return a charge that belongs to no invoice; none for one without a customer."""
    buyer = id_of(data.get("customer"))
    if buyer is None:
        return []
    code, status = currency(data.get("currency")), CHARGED[data["status"]]
    if status == "succeeded" and data.get("captured") is False:
        status = "requires_capture"
    return [record("payment", {
        **_charge_facts(data),
        "payment_id": data.get("id"), "customer": {"customer_id": buyer}, "total_amount": minor(data.get("amount"), code),
        "currency": code, "status": status, "charge_type": "on_demand", "metadata": data.get("metadata"),
        "billing": address(child(data, "billing_details", "address")), "created_at": moment(data.get("created")),
    })]  # fmt: skip


def refund(data: Json, payment_id: str) -> list[Record]:
    code = currency(data.get("currency"))
    return [record("refund", {
        "refund_id": data.get("id"), "payment_id": payment_id, "status": REFUNDED[data["status"]],
        "amount": minor(data.get("amount"), code), "currency": code, "reason": data.get("reason"), "metadata": data.get("metadata"),
        "created_at": moment(data.get("created")),
    })]  # fmt: skip


def _status(data: Json, intent: Any) -> str | None:
    if data.get("status") == "paid":
        return "succeeded"
    tried = child(intent, "latest_charge") is not None
    if data.get("status") == "canceled":
        return "cancelled" if tried else None
    return WAITING.get(str(child(intent, "status"))) or ("failed" if tried else None)


def _charge_facts(data: Json) -> Json:
    """Return the payment method of a charge, which may no longer be saved, and why the charge failed."""
    details = child(data, "payment_method_details")
    kind = child(details, "type")
    known = card(child(details, kind) if isinstance(kind, str) else None, data.get("billing_details"))
    return {
        "payment_method": kind, "card_network": known["card_network"],
        "card_last_four": known["last4_digits"], "card_exp_month": known["expiry_month"], "card_exp_year": known["expiry_year"],
        "card_holder_name": known["card_holder_name"], "card_issuing_country": known["card_issuing_country"],
        "error_code": data.get("failure_code"), "error_message": data.get("failure_message"),
    }  # fmt: skip


def _tax(invoice: Json, amount: int, code: str) -> int:
    """Return the tax in a payment. Of a payment of a part of the invoice, it is the same part of the tax."""
    taxes = sum(minor(item.get("amount"), code) for item in children(invoice, "total_taxes"))
    total = minor(invoice.get("total"), code)
    return max(0, round(Fraction(taxes * amount, total))) if total > 0 and taxes > 0 else 0


def cart_of(lines: list[Json]) -> list[Json]:
    """Return what was bought: the lines with a price, without credit and corrections of the running period."""
    out: dict[str, int] = {}
    for line in lines:
        price = id_of(child(line, "pricing", "price_details", "price"))
        is_proration = child(line, "parent", "subscription_item_details", "proration")
        if price and not is_proration and isinstance(line.get("amount"), int) and line["amount"] > 0:
            out[price] = line.get("quantity") or 1
    return [{"product_id": price, "quantity": count} for price, count in out.items()]
