"""The form of a product or an add-on: what was typed → what the commands take, or a sentence per field that cannot be read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from babel import Locale
from flask_babel import gettext as _

from billing.catalogue import Addon, Product
from core.amounts import read_amount, write_amount
from core.money import DISPUTED
from core.pages import words

KINDS = ("one_time_price", "recurring_price")
TAX = ("digital_products", "saas", "e_book", "edtech", "live_tutoring")
INTERVALS = ("Day", "Week", "Month", "Year")
UNTIL_CANCELLED = ("Year", 100)
"""The longest term: the API has no word for a subscription that only ends when somebody cancels it."""
DESCRIPTION_LIMIT = 5000


class Form:
    """Reads fields one by one and keeps a sentence for each that is wrong. `typed` stays as it came."""

    def __init__(self, typed: Mapping[str, str]) -> None:
        self.typed, self.errors = typed, dict[str, str]()

    def text(self, name: str, most: int, needed: str = "") -> str:
        """`needed`: what to say where it is empty; nothing where it may be."""
        value = (self.typed.get(name) or "").strip()
        if needed:
            value = " ".join(value.split())
        if (needed and not value) or any(ord(one) < 32 and one not in "\r\n\t" for one in value):
            self.errors[name] = needed or _("This holds signs that cannot be kept.")
        elif len(value) > most:
            self.errors[name] = _("Please keep it under %(count)s characters.", count=words().count(most))
        return value

    def choice(self, name: str, known: tuple[str, ...], usual: str = "") -> str:
        value = self.typed.get(name) or usual
        if value not in known:
            self.errors[name] = _("Choose one of the list.")
        return value

    def whole(self, name: str, least: int, most: int, usual: int | None = None) -> int | None:
        """`usual`: what an empty field means."""
        value = (self.typed.get(name) or "").strip()
        if not value:
            return usual
        if not re.fullmatch(r"[0-9]{1,9}", value, re.ASCII) or not least <= int(value) <= most:
            self.errors[name] = _("A whole number, from %(least)s to %(most)s.", least=words().count(least), most=words().count(most))
            return usual
        return int(value)

    def currency(self, name: str = "currency") -> str:
        value = (self.typed.get(name) or "").strip().upper()
        if value not in Locale("en").currencies or value in DISPUTED or len(value) != 3:
            self.errors[name] = _("Three letters of a currency, such as EUR.")
        return value

    def amount(self, name: str, currency: str) -> int:
        if "currency" in self.errors:
            return 0
        try:
            return read_amount(self.typed.get(name) or "", currency, words().locale)
        except ValueError:
            self.errors[name] = _("Write an amount in %(currency)s, such as %(example)s.", currency=currency,
                                  example=write_amount(2900 if currency != "JPY" else 3000, currency, words().locale))
            return 0


def of_product(form: Form, fixed: Product | None = None) -> dict[str, Any]:
    """What `create_product` takes; of a product that exists (`fixed`), kind, currency and rhythm stay as they are."""
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
        "name": form.text("name", 200, _("Give it a name of 1 to 200 characters.")),
        "description": form.text("description", DESCRIPTION_LIMIT), "tax_category": form.choice("tax_category", TAX), "price": price,
        "license_key_enabled": keys, "limit": form.whole("license_limit", 0, 1_000_000),
        "duration": {"count": lasts, "interval": form.choice("license_interval", INTERVALS, "Year")} if lasts else None,
        "message": form.text("license_message", 2500) or None,
    }


def _term(form: Form) -> tuple[str, int]:
    """How long a subscription runs at most."""
    if form.choice("term", ("until_cancelled", "limited"), "until_cancelled") == "until_cancelled":
        return UNTIL_CANCELLED
    count, interval = form.whole("term_count", 1, 1000), form.choice("term_interval", INTERVALS, "Year")
    if count is None and "term_count" not in form.errors:
        form.errors["term_count"] = _("Enter how long it runs, such as 12 months.")
    return interval, count or 1


def typed_of(product: Product) -> dict[str, str]:
    lasts = product.license_key_duration or {}
    return {
        "name": product.name, "description": product.description, "kind": product.price_type, "currency": product.currency,
        "amount": write_amount(product.price_minor, product.currency, words().locale), "tax_category": product.tax_category,
        "term": "until_cancelled" if (product.term_interval, product.term_count) == UNTIL_CANCELLED else "limited",
        "term_interval": product.term_interval or "Year", "term_count": str(product.term_count),
        "trial_days": str(product.trial_days), "license_keys": "1" if product.license_key_enabled else "",
        "license_limit": "" if product.license_key_limit is None else str(product.license_key_limit),
        "license_for": str(lasts.get("count") or ""),
        "license_interval": lasts.get("interval") or "Year", "license_message": product.license_key_message or "",
    }


def typed_of_addon(addon: Addon) -> dict[str, str]:
    return {"name": addon.name, "description": addon.description, "currency": addon.currency, "tax_category": addon.tax_category,
            "amount": write_amount(addon.price_minor, addon.currency, words().locale)}


def choices() -> dict[str, list[tuple[str, str]]]:
    """The lists of the form, in the reader's language."""
    return {
        "kinds": [("one_time_price", _("Once")), ("recurring_price", _("Again and again: a subscription"))],
        "tax_categories": [("digital_products", _("Digital products")), ("saas", _("Software as a service")), ("e_book", _("E-books")),
                           ("edtech", _("Online courses")), ("live_tutoring", _("Live teaching"))],
        "terms": [("until_cancelled", _("Until it is canceled")), ("limited", _("For a fixed time, then it ends"))],
        "intervals": [("Day", _("Days")), ("Week", _("Weeks")), ("Month", _("Months")), ("Year", _("Years"))],
    }
