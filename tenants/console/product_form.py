"""The form of a product or an add-on: convert the submitted values to command arguments, with an error message per field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from babel import Locale
from flask_babel import gettext as _

from billing.model.catalogue import Addon, Product
from core.amount_input import read_amount, write_amount
from core.money import DISPUTED
from core.template_context import formatter

KINDS = ("one_time_price", "recurring_price")
TAX = ("digital_products", "saas", "e_book", "edtech", "live_tutoring")
INTERVALS = ("Day", "Week", "Month", "Year")
UNTIL_CANCELLED = ("Year", 100)
"""The longest term. The API has no value for a subscription without an end."""
DESCRIPTION_LIMIT = 5000


class Form:
    """Read fields one by one and collect an error message for each invalid one. `typed` is not changed."""

    def __init__(self, typed: Mapping[str, str]) -> None:
        self.typed, self.errors = typed, dict[str, str]()

    def text(self, name: str, most: int, needed: str = "") -> str:
        """Return a text field. `needed`: the error message if it is empty; leave it out for optional fields."""
        value = (self.typed.get(name) or "").strip()
        if needed:
            value = " ".join(value.split())
        if (needed and not value) or any(ord(item) < 32 and item not in "\r\n\t" for item in value):
            self.errors[name] = needed or _("Remove the control characters.")
        elif len(value) > most:
            self.errors[name] = _("Enter at most %(count)s characters.", count=formatter().count(most))
        return value

    def choice(self, name: str, known: tuple[str, ...], usual: str = "") -> str:
        value = self.typed.get(name) or usual
        if value not in known:
            self.errors[name] = _("Choose an option from the list.")
        return value

    def whole(self, name: str, least: int, most: int, usual: int | None = None) -> int | None:
        """Return a whole number between `least` and `most`. `usual`: the value of an empty field."""
        value = (self.typed.get(name) or "").strip()
        if not value:
            return usual
        if not re.fullmatch(r"[0-9]{1,9}", value, re.ASCII) or not least <= int(value) <= most:
            self.errors[name] = _(
                "Enter a whole number from %(least)s to %(most)s.", least=formatter().count(least), most=formatter().count(most)
            )
            return usual
        return int(value)

    def currency(self, name: str = "currency") -> str:
        value = (self.typed.get(name) or "").strip().upper()
        if value not in Locale("en").currencies or value in DISPUTED or len(value) != 3:
            self.errors[name] = _("Enter a three-letter currency code, such as EUR.")
        return value

    def amount(self, name: str, currency: str) -> int:
        if "currency" in self.errors:
            return 0
        try:
            return read_amount(self.typed.get(name) or "", currency, formatter().locale)
        except ValueError:
            self.errors[name] = _(
                "Enter an amount in %(currency)s, such as %(example)s.",
                currency=currency,
                example=write_amount(2900 if currency != "JPY" else 3000, currency, formatter().locale),
            )
            return 0


def of_product(form: Form, fixed: Product | None = None) -> dict[str, Any]:
    """Return the arguments of `create_product`. An existing product (`fixed`) keeps its price type, currency and interval."""
    kind = fixed.price_type if fixed else form.choice("kind", KINDS)
    currency = fixed.currency if fixed else form.currency()
    minor = form.amount("amount", currency)
    price: dict[str, Any] = {"type": kind, "currency": currency, "fixed_price" if kind == "usage_based_price" else "price": minor}
    price["tax_inclusive"] = fixed.tax_inclusive if fixed else bool(form.typed.get("tax_inclusive"))
    if kind != "one_time_price":
        price |= {
            "payment_frequency_interval": fixed.interval if fixed else form.choice("interval", INTERVALS, "Month"),
            "payment_frequency_count": fixed.interval_count if fixed else form.whole("interval_count", 1, 1000, 1),
            "meters": fixed.meters if fixed else [],
        }
        price["subscription_period_interval"], price["subscription_period_count"] = _term(form)
        if kind == "recurring_price":
            price["trial_period_days"] = form.whole("trial_days", 0, 10_000, 0)
    lasts = form.whole("license_for", 1, 1000)
    keys = bool(form.typed.get("license_keys"))
    return {
        "name": form.text("name", 200, _("Enter a name of 1 to 200 characters.")),
        "description": form.text("description", DESCRIPTION_LIMIT),
        "tax_category": form.choice("tax_category", TAX),
        "price": price,
        "license_key_enabled": keys,
        "limit": form.whole("license_limit", 0, 1_000_000),
        "duration": {"count": lasts, "interval": form.choice("license_interval", INTERVALS, "Year")} if lasts else None,
        "message": form.text("license_message", 2500) or None,
        "successor_id": form.typed.get("successor") or None,
    }


def _term(form: Form) -> tuple[str, int]:
    """Return the term of a subscription as (interval, count)."""
    if form.choice("term", ("until_cancelled", "limited"), "until_cancelled") == "until_cancelled":
        return UNTIL_CANCELLED
    count, interval = form.whole("term_count", 1, 1000), form.choice("term_interval", INTERVALS, "Year")
    if count is None and "term_count" not in form.errors:
        form.errors["term_count"] = _("Enter the term, such as 12 months.")
    return interval, count or 1


def typed_of(product: Product) -> dict[str, str]:
    lasts = product.license_key_duration or {}
    return {
        "name": product.name,
        "description": product.description,
        "kind": product.price_type,
        "currency": product.currency,
        "amount": write_amount(product.price_minor, product.currency, formatter().locale),
        "tax_category": product.tax_category,
        "term": "until_cancelled" if (product.term_interval, product.term_count) == UNTIL_CANCELLED else "limited",
        "term_interval": product.term_interval or "Year",
        "term_count": str(product.term_count),
        "trial_days": str(product.trial_days),
        "license_keys": "1" if product.license_key_enabled else "",
        "license_limit": "" if product.license_key_limit is None else str(product.license_key_limit),
        "license_for": str(lasts.get("count") or ""),
        "license_interval": lasts.get("interval") or "Year",
        "license_message": product.license_key_message or "",
        "successor": product.successor_id or "",
    }


def typed_of_addon(addon: Addon) -> dict[str, str]:
    return {
        "name": addon.name,
        "description": addon.description,
        "currency": addon.currency,
        "tax_category": addon.tax_category,
        "amount": write_amount(addon.price_minor, addon.currency, formatter().locale),
    }


def choices() -> dict[str, list[tuple[str, str]]]:
    """Return the options of the form's lists, translated."""
    return {
        "kinds": [("one_time_price", _("Once")), ("recurring_price", _("Recurring"))],
        "tax_categories": [
            ("digital_products", _("Digital products")),
            ("saas", _("Software as a service")),
            ("e_book", _("E-books")),
            ("edtech", _("Online courses")),
            ("live_tutoring", _("Live tutoring")),
        ],
        "terms": [("until_cancelled", _("Until cancelled")), ("limited", _("Fixed term"))],
        "intervals": [("Day", _("Days")), ("Week", _("Weeks")), ("Month", _("Months")), ("Year", _("Years"))],
    }
