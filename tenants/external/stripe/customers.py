"""Customers and payment methods of Stripe as records."""

from __future__ import annotations

from typing import Any

from billing.model.imported_records import Record
from core.errors import Invalid
from tenants.external.stripe.billing_details import name_of
from tenants.external.stripe.values import child, id_of, moment
from tenants.external.system import Json
from tenants.imports.shapes import record

NO_ADDRESS = "the customer has no email address"


def customer(data: Json) -> list[Record]:
    """Return a customer and the default payment method. Raises Invalid for a deleted one, and for one without an email address."""
    if data.get("deleted") or not data.get("email"):
        raise Invalid(fields={"email": NO_ADDRESS if not data.get("deleted") else "the customer was deleted"})
    locales = data.get("preferred_locales")
    found = record("customer", {
        "customer_id": data.get("id"), "email": data["email"], "name": name_of(data),
        "phone_number": _short(data.get("phone"), 40), "preferred_locale": locales[0] if isinstance(locales, list) and locales else None,
        "metadata": data.get("metadata"), "created_at": moment(data.get("created")),
    })  # fmt: skip
    return [found, *payment_method(child(data, "invoice_settings", "default_payment_method"), found.id)][::-1]


def payment_method(data: Any, customer_id: str | None = None) -> list[Record]:
    """Return a saved payment method; none for one that is only an id, or that belongs to nobody."""
    owner = customer_id or id_of(child(data, "customer"))
    if not isinstance(data, dict) or not owner:
        return []
    kind = data.get("type")
    return [record("payment_method", {
        "payment_method_id": data.get("id"), "customer_id": owner, "payment_method": kind if isinstance(kind, str) else "card",
        "card": card(data.get(kind) if isinstance(kind, str) else None, data.get("billing_details")),
        "created_at": moment(data.get("created")),
    })]  # fmt: skip


def card(details: Any, billing: Any) -> Json:
    """Return what is known of a card, or of a bank account: the last four digits."""
    return {
        "card_holder_name": child(billing, "name"), "card_issuing_country": child(details, "country"),
        "card_network": child(details, "brand"), "last4_digits": child(details, "last4"), "expiry_month": child(details, "exp_month"),
        "expiry_year": child(details, "exp_year"),
    }  # fmt: skip


def _short(value: Any, size: int) -> Any:
    return value[:size] if isinstance(value, str) else value
