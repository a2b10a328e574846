"""Prices of Stripe as products and add-ons. A plan here has one price, so each price of a product at Stripe is a product here."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from billing.model.imported_records import Record
from tenants.external.stripe.values import child, currency, first_text, id_of, minor, moment
from tenants.external.system import Json
from tenants.imports.shapes import record

INTERVALS = {"day": "Day", "week": "Week", "month": "Month", "year": "Year"}
TERM_YEARS = 50
"""A subscription at Stripe has no end. Products here have a longest term."""


def product(price: Json) -> Record:
    code, sold = currency(price.get("currency")), price.get("product")
    recurring = price.get("recurring")
    terms: Json = {"type": "one_time_price", "currency": code, "price": unit_minor(price, code)}
    if isinstance(recurring, dict):
        by_use = is_by_use(price)
        terms = {
            "type": "usage_based_price" if by_use else "recurring_price", "currency": code,
            "fixed_price" if by_use else "price": unit_minor(price, code), "payment_frequency_interval": INTERVALS[recurring["interval"]],
            "payment_frequency_count": recurring.get("interval_count") or 1, "subscription_period_interval": "Year",
            "subscription_period_count": TERM_YEARS, "trial_period_days": recurring.get("trial_period_days") or 0,
        }  # fmt: skip
    terms["tax_inclusive"] = price.get("tax_behavior") == "inclusive"
    return record("product", {
        "product_id": price.get("id"), "name": name_of(price), "price": terms, "description": child(sold, "description"),
        "metadata": child(sold, "metadata"), "created_at": moment(price.get("created")), "archived_at": _archived_at(price),
        "updated_at": moment(child(sold, "updated")),
    })  # fmt: skip


def addon(price: Json) -> Record:
    """Return a price as an add-on of a subscription with several items. One that is billed by usage costs 0 here."""
    code = currency(price.get("currency"))
    return record("addon", {
        "id": price.get("id"), "name": name_of(price), "price": unit_minor(price, code), "currency": code,
        "description": child(price, "product", "description"), "created_at": moment(price.get("created")),
        "archived_at": _archived_at(price), "updated_at": moment(child(price, "product", "updated")),
    })  # fmt: skip


def name_of(price: Json) -> str:
    return first_text(child(price, "product", "name"), price.get("nickname"), id_of(price.get("product")), price.get("id"))[:300]


def unit_minor(price: Json, code: str) -> int:
    """Return the price of one unit. Of prices by usage, and of those in tiers, it is not one number: 0."""
    if is_by_use(price):
        return 0
    if price.get("unit_amount") is not None:
        return minor(price["unit_amount"], code)
    exact = price.get("unit_amount_decimal")
    if exact is None:  # the buyer chooses the amount
        return 0
    try:
        return minor(round(Decimal(str(exact)[:40])), code)
    except (InvalidOperation, OverflowError):
        raise ValueError("an amount must be a number") from None


def is_by_use(price: Json) -> bool:
    return child(price, "recurring", "usage_type") == "metered" or price.get("billing_scheme") == "tiered"


def _archived_at(price: Json) -> Any:
    sold = price.get("product")
    is_sold = price.get("active") is not False and child(sold, "active") is not False and not child(sold, "deleted")
    return None if is_sold else moment(child(sold, "updated") or price.get("created"))
