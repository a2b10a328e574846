"""Reads how Stripe Tax taxed a line, in the codes of billing/pricing/taxes.py."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal

from billing.pricing.tax_port import TaxedItem
from billing.pricing.taxes import EU, REASONS
from gateways.stripe.amounts import from_stripe
from gateways.stripe.api import StripeObject

EXEMPT = {
    "customer_exempt": "tax-exempt customer",
    "product_exempt": "tax-exempt product",
    "product_exempt_holiday": "tax holiday",
    "portion_product_exempt": "tax-exempt product",
}
"""Reasons of Stripe for an exemption → the text on invoices."""


def taxed_item(line: StripeObject, currency: str, country: str) -> TaxedItem:
    """Return the tax of a line of a calculation, of a sale to `country`. Raises ValueError for a part of a minor unit."""
    tax = from_stripe(line["amount_tax"], currency).minor
    code, rate, reason = _treatment(line, country)
    bps = int((rate * 100).quantize(Decimal(1), ROUND_HALF_UP))
    return TaxedItem(line["reference"], tax, code, bps, format(rate.normalize(), "f"), reason)


def _treatment(line: StripeObject, country: str) -> tuple[str, Decimal, str | None]:
    """Return code, percentage and reason. A line that several taxes apply to has their sum as its rate."""
    parts = line.get("tax_breakdown") or []
    reasons = {part["taxability_reason"] for part in parts}
    rate = _rate(line, parts)
    if line["amount_tax"] or rate:
        return "S", rate, None
    if "reverse_charge" in reasons:
        return "AE", Decimal(0), REASONS["AE"] if country in EU else None
    exempt = next((EXEMPT[name] for name in EXEMPT if name in reasons), None)
    if exempt:
        return "E", Decimal(0), exempt
    return ("Z" if "zero_rated" in reasons else "O"), Decimal(0), None


def _rate(line: StripeObject, parts: Sequence[StripeObject]) -> Decimal:
    """Return the percentage: the sum of the rates, or tax by amount where they apply to different parts of the amount."""
    taxed = [part for part in parts if part.get("tax_rate_details") and part["taxable_amount"]]
    if len({part["taxable_amount"] for part in taxed}) == 1:
        summed = sum((Decimal(part["tax_rate_details"]["percentage_decimal"]) for part in taxed), Decimal(0))
        if summed or not line["amount_tax"]:
            return summed
    net = line["amount"] - (line["amount_tax"] if line["tax_behavior"] == "inclusive" else 0)
    return (Decimal(line["amount_tax"]) * 100 / net).quantize(Decimal("0.01"), ROUND_HALF_UP) if net and line["amount_tax"] else Decimal(0)
