"""Stripe Tax: settings, calculations and transactions, for an account that is registered in some places (`RATES`)."""

from __future__ import annotations

import time
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from tests.harness.stripe_standin.world import DAY, Account, Object, Problem

RATES: dict[str, list[tuple[str, str, str]]] = {
    "GB": [("VAT", "vat", "20")],
    "DE": [("VAT", "vat", "19")],
    "FR": [("VAT", "vat", "20")],
    "US-NY": [("New York State Tax", "sales_tax", "4"), ("New York City Tax", "sales_tax", "4.875")],
}
"""Place → (display name, tax type, percent) of each tax there. No tax is collected elsewhere."""
REDUCED = {("DE", "txcd_10302000"): "7"}
EXEMPT_CODES = {("DE", "txcd_20060059")}
PRESET_CODE = "txcd_10000000"
MOST_PARTIAL_REVERSALS = 30


def settings(account: Account, values: dict[str, Any]) -> Object:
    """Pending until the test sets `tax_active` of the account."""
    active = account.tax_active
    return {
        "object": "tax.settings", "livemode": account.live, "head_office": None,
        "defaults": {"provider": "stripe", "tax_behavior": "inferred_by_currency", "tax_code": PRESET_CODE},
        "status": "active" if active else "pending",
        "status_details": {"active": {}} if active else {"pending": {"missing_fields": ["head_office"]}},
    }  # fmt: skip


def calculate(account: Account, values: dict[str, Any]) -> Object:
    details = values.get("customer_details", {})
    address = details.get("address") or {}
    if not account.tax_active:
        raise Problem(400, "You must set the origin address in your tax settings.", code="tax_settings_invalid")
    if address.get("country") == "US" and not address.get("postal_code"):
        words = "We could not determine the customer's tax location based on the provided customer address."
        raise Problem(400, words, code="customer_tax_location_invalid", param="customer_details[address]")
    made = account.make("tax.calculation", currency=values["currency"], customer=None, customer_details=_details(details),
                        expires_at=int(time.time()) + 90 * DAY, ship_from_details=None, shipping_cost=None,
                        tax_date=values.get("tax_date", int(time.time())))  # fmt: skip
    del made["created"]
    lines = [_line(account, item, address, _is_reverse_charge(account, details)) for item in values["line_items"]]
    account.private[made["id"]]["lines"] = lines
    kind = {"exclusive": 0, "inclusive": 0}
    for line in lines:
        kind[line["tax_behavior"]] += line["amount_tax"]
    made |= {
        "line_items": {"object": "list", "data": lines[:10], "has_more": len(lines) > 10,
                       "url": f"/v1/tax/calculations/{made['id']}/line_items"},
        "tax_amount_exclusive": kind["exclusive"], "tax_amount_inclusive": kind["inclusive"],
        "amount_total": sum(line["amount"] for line in lines) + kind["exclusive"], "tax_breakdown": [],
    }  # fmt: skip
    account.private[made["id"]]["knows"] = details
    return made


def line_items(account: Account, values: dict[str, Any], calculation: str) -> Object:
    account.get(calculation, "tax.calculation")
    lines = account.private[calculation]["lines"]
    start = 1 + [line["id"] for line in lines].index(values["starting_after"]) if "starting_after" in values else 0
    limit = values.get("limit", 10)
    return {
        "object": "list", "data": lines[start : start + limit], "has_more": len(lines) > start + limit,
        "url": f"/v1/tax/calculations/{calculation}/line_items",
    }  # fmt: skip


def create_transaction(account: Account, values: dict[str, Any]) -> Object:
    found = account.get(values["calculation"], "tax.calculation", "calculation")
    if found["expires_at"] <= time.time():
        raise Problem(400, "This tax calculation has expired.", param="calculation")
    lines = [_copied(account, line, 1, values["reference"]) for line in account.private[found["id"]]["lines"]]
    return _transaction(account, found, values, lines, None)


def create_reversal(account: Account, values: dict[str, Any]) -> Object:
    original = account.get(values["original_transaction"], "tax.transaction", "original_transaction")
    lines = original["line_items"]["data"]
    if values["mode"] == "full":
        parts = [(line, -line["amount"], -line["amount_tax"]) for line in lines]
    elif "flat_amount" in values:
        parts = _spread(account, original, -values["flat_amount"])
    else:
        by_id = {line["id"]: line for line in lines}
        parts = [(by_id[item["original_line_item"]], item["amount"], item["amount_tax"]) for item in values["line_items"]]
    left = account.private[original["id"]]["left"]
    if values["mode"] == "partial":
        for line, amount, tax in parts:
            left[line["id"]][0] += amount
            left[line["id"]][1] += tax
        if any(min(rest) < 0 for rest in left.values()):
            raise Problem(400, "You cannot reverse more than the amount of the transaction.", param="line_items")
    made = [_copied(account, line, 1, values["reference"], amount, tax) for line, amount, tax in parts]
    return _transaction(account, original, values, made, original["id"])


def _spread(account: Account, original: Object, amount: int) -> list[tuple[Object, int, int]]:
    """Distribute an amount with tax over what is left of each line, as Stripe documents it for `flat_amount`."""
    left = account.private[original["id"]]["left"]
    wholes = {line["id"]: sum(left[line["id"]]) if line["tax_behavior"] == "exclusive" else left[line["id"]][0]
              for line in original["line_items"]["data"]}  # fmt: skip
    whole = sum(wholes.values())
    out, rest = [], amount
    for place, line in enumerate(original["line_items"]["data"], 1):
        part = rest if place == len(wholes) else round(amount * wholes[line["id"]] / whole)
        rest -= part
        tax = round(part * left[line["id"]][1] / (wholes[line["id"]] or 1))
        out.append((line, -(part - tax if line["tax_behavior"] == "exclusive" else part), -tax))
    return out


def _transaction(account: Account, source: Object, values: dict[str, Any], lines: list[Object], original: str | None) -> Object:
    if any(item["reference"] == values["reference"] for item in account.every("tax.transaction")):
        raise Problem(400, "A tax transaction with this reference already exists.", param="reference")
    made = account.make("tax.transaction", currency=source["currency"], customer=None, customer_details=source["customer_details"],
                        metadata=values.get("metadata", {}), posted_at=int(time.time()), reference=values["reference"],
                        reversal={"original_transaction": original} if original else None, ship_from_details=None, shipping_cost=None,
                        tax_date=source["tax_date"], type="reversal" if original else "transaction")  # fmt: skip
    made["line_items"] = {"object": "list", "data": lines, "has_more": False, "url": f"/v1/tax/transactions/{made['id']}/line_items"}
    account.private[made["id"]]["left"] = {line["id"]: [line["amount"], line["amount_tax"]] for line in lines}
    return made


def _copied(account: Account, line: Object, quantity: int, reference: str, amount: int | None = None, tax: int | None = None) -> Object:
    """Return a line of a transaction: of a sale, or of a reversal if amounts are given."""
    is_reversal = amount is not None
    return {
        "id": f"tax_li_{account.token()}", "object": "tax.transaction_line_item", "livemode": account.live, "metadata": {},
        "quantity": quantity, "product": None, "reference": line["reference"], "tax_behavior": line["tax_behavior"],
        "tax_code": line["tax_code"], "amount": amount if is_reversal else line["amount"],
        "amount_tax": tax if is_reversal else line["amount_tax"], "type": "reversal" if is_reversal else "transaction",
        "reversal": {"original_line_item": line["id"]} if is_reversal else None,
    }  # fmt: skip


def _details(details: dict[str, Any]) -> Object:
    address = {name: None for name in ("city", "line1", "line2", "postal_code", "state")} | (details.get("address") or {})
    return {
        "address": address, "address_source": details.get("address_source"), "ip_address": None,
        "tax_ids": details.get("tax_ids", []), "taxability_override": "none",
    }  # fmt: skip


def _is_reverse_charge(account: Account, details: dict[str, Any]) -> bool:
    abroad = (details.get("address") or {}).get("country") != account.country
    return abroad and any(item["type"] == "eu_vat" for item in details.get("tax_ids", []))


def _line(account: Account, item: dict[str, Any], address: dict[str, Any], reverse: bool) -> Object:
    country, code = address.get("country", ""), item.get("tax_code", PRESET_CODE)
    place = f"US-{address.get('state')}" if country == "US" else country
    behavior = item.get("tax_behavior", "exclusive")
    rates = RATES.get(place, [])
    reason = "reverse_charge" if reverse and rates else "not_collecting" if not rates else "standard_rated"
    if (place, code) in REDUCED and reason == "standard_rated":
        reason, rates = "reduced_rated", [(*rates[0][:2], REDUCED[place, code])]
    if (place, code) in EXEMPT_CODES and reason == "standard_rated":
        reason = "product_exempt"
    breakdown = _breakdown(item["amount"], behavior, country, rates, reason)
    return {
        "id": f"tax_li_{account.token()}", "object": "tax.calculation_line_item", "amount": item["amount"],
        "amount_tax": sum(part["amount"] for part in breakdown), "livemode": account.live, "metadata": {}, "product": None,
        "quantity": item.get("quantity", 1), "reference": item.get("reference", ""), "tax_behavior": behavior, "tax_code": code,
        "tax_breakdown": breakdown,
    }  # fmt: skip


def _breakdown(amount: int, behavior: str, country: str, rates: list[tuple[str, str, str]], reason: str) -> list[Object]:
    taxed = reason in ("standard_rated", "reduced_rated")
    whole = sum((Decimal(percent) for *_, percent in rates), Decimal(0)) if taxed else Decimal(0)
    exact_net = Decimal(amount) if behavior == "exclusive" else Decimal(amount) / (1 + whole / 100)
    out = []
    for name, kind, percent in rates or [("", "sales_tax" if country == "US" else "vat", "0")]:
        tax = int((exact_net * Decimal(percent) / 100).quantize(Decimal(1), ROUND_HALF_UP)) if taxed else 0
        details = {"display_name": name, "percentage_decimal": percent, "tax_type": kind}
        out.append({
            "amount": tax, "jurisdiction": {"country": country, "display_name": name, "level": "country", "state": None},
            "sourcing": "destination", "tax_rate_details": details if rates and taxed else None, "taxability_reason": reason,
            "taxable_amount": int(exact_net.quantize(Decimal(1), ROUND_HALF_UP)) if taxed else 0,
        })  # fmt: skip
    return out


def leave_out(body: Object, expand: list[str]) -> None:
    """Remove what Stripe returns only where it is asked to expand it: the lines, and the taxes of each line."""
    if body.get("object") not in ("tax.calculation", "tax.transaction"):
        return
    if not any(path.startswith("line_items") for path in expand):
        body["line_items"] = None
    for line in (body.get("line_items") or {}).get("data", []):
        if "line_items.data.tax_breakdown" not in expand:
            line.pop("tax_breakdown", None)


OPERATIONS = {
    ("GET", "/v1/tax/settings"): settings,
    ("POST", "/v1/tax/calculations"): calculate,
    ("GET", "/v1/tax/calculations/{calculation}/line_items"): line_items,
    ("POST", "/v1/tax/transactions/create_from_calculation"): create_transaction,
    ("POST", "/v1/tax/transactions/create_reversal"): create_reversal,
}
