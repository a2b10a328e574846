"""Checks what is typed or sent as registrations, rates and other tax settings. Each function adds messages by field to `problems`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from billing.model.regions import REGIONS, region_code
from billing.pricing.tax_setup import LOCAL, OSS
from billing.pricing.taxes import CODES, parse
from billing.subscriptions.billing_details import COUNTRIES
from core.errors import N_

MOST_EXEMPT = 20
CATEGORIES = ("digital_products", "saas", "e_book", "edtech", "live_tutoring")
_CATEGORY = re.compile(r"[a-z][a-z0-9_]{0,39}")
_CHOOSE_REGION = N_("Choose a region of this country from the list.")
_DATE = N_("Enter a date, such as 2027-01-31.")

Problems = dict[str, str]


def clean_registration(typed: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    scheme = typed.get("scheme") or LOCAL
    if scheme not in (LOCAL, OSS):
        problems["scheme"] = N_("Choose an option from the list.")
    row: dict[str, Any] = {"scheme": scheme, "country": typed.get("country") or None}
    if row["country"] not in COUNTRIES:
        problems["country"] = N_("Choose a country.")
    elif row["country"] in REGIONS and typed.get("region"):
        row["region"] = region_code(row["country"], str(typed["region"]))
        if row["region"] is None:
            problems["region"] = _CHOOSE_REGION
    elif row["country"] == "US":
        problems["region"] = N_("Choose the state. There is no sales tax of the whole country.")
    row["number"] = _text(typed, "number", 50, problems) or None
    return row | _validity(typed, problems)


def clean_rate(typed: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    row: dict[str, Any] = {"country": typed.get("country") or None}
    if row["country"] != "*" and row["country"] not in COUNTRIES:
        problems["country"] = N_("Choose a country.")
    elif typed.get("region"):
        row["region"] = region_code(row["country"], str(typed["region"]))
        if row["region"] is None:
            problems["region"] = _CHOOSE_REGION
    category = str(typed.get("category") or "")
    if category and not _CATEGORY.fullmatch(category):
        problems["category"] = N_("Choose an option from the list.")
    elif category:
        row["category"] = category
    bps = typed.get("bps")
    if isinstance(bps, bool) or not isinstance(bps, int) or not 0 <= bps <= 10_000:
        problems["bps"] = N_("Enter a rate from 0 to 100 percent, with at most two decimals.")
        return row
    row["bps"] = bps
    code, reason = str(typed.get("code") or ""), _text(typed, "reason", 200, problems)
    row |= {name: value for name, value in (("code", code), ("reason", reason)) if value}
    if code and code not in CODES:
        problems["code"] = N_("Choose an option from the list.")
    elif (bps > 0) and code not in ("", "S"):
        problems["code"] = N_("A rate above 0 cannot have a reason for no tax.")
    elif code == "S" and not bps:
        problems["bps"] = N_("Enter a rate above 0.")
    elif code == "E" and not reason:
        problems["reason"] = N_("Enter why these sales are exempt. It is printed on invoices.")
    elif reason and (bps or code in ("S", "Z")):
        problems["reason"] = N_("Only sales without tax have a reason.")
    elif "reason" not in problems:
        try:
            parse(row)
        except ValueError:
            problems["code"] = N_("Choose an option from the list.")
    return row | _validity(typed, problems)


def clean_general(typed: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    exempt: dict[str, str] = {}
    given = typed.get("exempt") or {}
    if len(given) > MOST_EXEMPT:
        problems["exempt"] = N_("There are too many entries.")
    for category, reason in list(given.items())[:MOST_EXEMPT]:
        field = f"exempt_{category}"
        text = " ".join(str(reason or "").split())
        if not _CATEGORY.fullmatch(str(category)):
            problems["exempt"] = N_("Choose an option from the list.")
        elif not text:
            problems[field] = N_("Enter why these sales are exempt. It is printed on invoices.")
        elif len(text) > 200:
            problems[field] = N_("Please keep it under 200 characters.")
        exempt[str(category)] = text
    category = typed.get("category") or None
    if category is not None and category not in CATEGORIES:
        problems["category"] = N_("Choose an option from the list.")
    return {
        "prices_include_tax": bool(typed.get("prices_include_tax")),
        "category": category,
        "not_registered": bool(typed.get("not_registered")),
        "exempt": exempt,
    }


def _validity(typed: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    """Return the given dates `valid_from` and `valid_to`."""
    out: dict[str, Any] = {}
    for name in ("valid_from", "valid_to"):
        text = str(typed.get(name) or "").strip()
        if not text:
            continue
        try:
            day = date.fromisoformat(text)
        except ValueError:
            problems[name] = _DATE
            continue
        if not 1970 <= day.year <= 2199:
            problems[name] = _DATE
        out[name] = day.isoformat()
    if len(out) == 2 and out["valid_to"] < out["valid_from"]:
        problems["valid_to"] = N_("The last day is before the first day.")
    return out


def _text(typed: Mapping[str, Any], name: str, most: int, problems: Problems) -> str:
    text = " ".join(str(typed.get(name) or "").split())
    if len(text) > most:
        problems[name] = N_("Please keep it under 50 characters.") if most == 50 else N_("Please keep it under 200 characters.")
    return text
