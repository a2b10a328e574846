"""Tax numbers of customers, and the other details that invoices show."""

from __future__ import annotations

import re
from typing import Any

from tests.harness.stripe_standin.world import Account, Object, Problem

FORMATS = {"eu_vat": r"[A-Z]{2}[A-Z0-9+*]{2,12}", "gb_vat": r"(GB|XI)?\d{9}(\d{3})?", "ch_vat": r"CHE-\d{3}\.\d{3}\.\d{3} (MWST|TVA|IVA)"}
"""What Stripe checks at once. That a number was issued is checked later."""
PARTS = ("line1", "line2", "city", "state", "postal_code", "country")


def create(account: Account, values: dict[str, Any], customer: str) -> Object:
    found, kind, value = account.get(customer, "customer"), values["type"], values["value"]
    if not re.fullmatch(FORMATS.get(kind, ".+"), value):
        raise Problem(400, f"Invalid value for {kind}.", code="tax_id_invalid", param="value")
    country = {"EL": "GR"}.get(value[:2], value[:2]) if kind == "eu_vat" else kind[:2].upper()
    made = account.make("tax_id", country=country, customer=customer, type=kind, value=value, owner=None,
                        verification={"status": "pending", "verified_address": None, "verified_name": None})  # fmt: skip
    found["tax_ids"]["data"].insert(0, made)
    account.emit("customer.tax_id.created", made)
    return made


def remove(account: Account, values: dict[str, Any], customer: str, identifier: str) -> Object:
    found = account.get(customer, "customer")
    made = account.get(identifier, "tax_id")
    if made not in found["tax_ids"]["data"]:
        raise Problem(404, f"No such tax ID: '{identifier}'", code="resource_missing", param="id")
    found["tax_ids"]["data"].remove(made)
    del account.objects[identifier]
    account.emit("customer.tax_id.deleted", made)
    return {"id": identifier, "object": "tax_id", "deleted": True}


def change_details(found: Object, values: dict[str, Any]) -> None:
    """Change the names and the address. An empty text removes a value."""
    for name in ("name", "business_name", "individual_name"):
        if name in values:
            found[name] = values[name] or None
            if name != "name" and not values[name]:
                del found[name]  # these are left out of the answer
    if "address" in values:
        given = values["address"] or {}
        found["address"] = {**dict.fromkeys(PARTS), **{name: value or None for name, value in given.items()}} if given else None


def leave_out(body: Object, expand: list[str]) -> None:
    """Remove the tax numbers of customers where their expansion was not requested."""
    items, prefix = (body["data"], "data.") if body.get("object") == "list" else ([body], "")
    for item in items:
        if item.get("object") == "customer" and f"{prefix}tax_ids" not in expand:
            item.pop("tax_ids", None)
        buyer = item.get("customer")
        if isinstance(buyer, dict) and f"{prefix}customer.tax_ids" not in expand:
            buyer.pop("tax_ids", None)


OPERATIONS = {("POST", "/v1/customers/{customer}/tax_ids"): create, ("DELETE", "/v1/customers/{customer}/tax_ids/{id}"): remove}
