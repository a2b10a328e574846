"""Change the tax set-up of a business: registrations, rates, exemptions (billing/pricing/tax_setup.py). The console, the API, imports and
the command line use these functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from billing.customers.portal_settings import the_business
from billing.model.parties import Business
from billing.pricing.default_rates import countries as covered_countries
from billing.pricing.regions import REGIONS, region_code
from billing.pricing.tax_setup import LOCAL, OSS, setup_of
from billing.pricing.taxes import CODES, parse
from billing.subscriptions.billing_details import COUNTRIES
from core.db import ScopedSession
from core.errors import N_, Invalid, NotFound
from core.ids import new_id
from core.outbox import emit

MOST_REGISTRATIONS, MOST_RATES, MOST_EXEMPT = 100, 500, 20
CATEGORIES = ("digital_products", "saas", "e_book", "edtech", "live_tutoring")
_CATEGORY = re.compile(r"[a-z][a-z0-9_]{0,39}")
_CHOOSE_REGION = N_("Choose a region of this country from the list.")
_DATE = N_("Enter a date, such as 2027-01-31.")

Problems = dict[str, str]


def save_registration(db: ScopedSession, typed: Mapping[str, Any], registration_id: str | None = None) -> dict[str, Any]:
    """Add or change a registration. `typed`: scheme, country, region, number, valid_from, valid_to.

    Raises Invalid with a message per field, NotFound.
    """
    problems: Problems = {}
    row = clean_registration(typed, problems)
    return _save(db, "registrations", row, problems, registration_id, MOST_REGISTRATIONS)


def save_rate(db: ScopedSession, typed: Mapping[str, Any], rate_id: str | None = None) -> dict[str, Any]:
    """Add or change a rate. `typed`: country (`*`: all others), region, category, bps, code, reason, valid_from, valid_to.

    Raises Invalid with a message per field, NotFound.
    """
    problems: Problems = {}
    row = clean_rate(typed, problems)
    return _save(db, "rates", row, problems, rate_id, MOST_RATES)


def remove(db: ScopedSession, kind: str, row_id: str) -> None:
    """Remove a registration or a rate (`kind`: registrations, rates). Issued invoices keep their tax. Raises NotFound."""
    business = the_business(db, write=True)
    rows = list(setup_of(business).get(kind) or ())
    kept = [row for row in rows if row.get("id") != row_id]
    if len(kept) == len(rows):
        raise NotFound()
    _store(db, business, {**setup_of(business), kind: kept}, [kind])


def save_general(db: ScopedSession, typed: Mapping[str, Any]) -> bool:
    """Set `prices_include_tax`, `category`, `not_registered` and `exempt` (category → reason). Return whether something changed.

    Raises Invalid with a message per field; `exempt_<category>` for a reason.
    """
    problems: Problems = {}
    new = clean_general(typed, problems)
    if problems:
        raise Invalid(fields=problems)
    business = the_business(db, write=True)
    setup = dict(setup_of(business))
    changed = [name for name, value in new.items() if setup.get(name) != value and (value or setup.get(name))]
    if changed:
        _store(db, business, {**setup, **new}, changed)
    return bool(changed)


def replace_setup(db: ScopedSession, sent: Mapping[str, Any]) -> Business:
    """Replace the whole set-up, as the API and imports do. Rows get an id. Raises Invalid; fields are paths like rates.0.bps."""
    problems: Problems = {}
    new: dict[str, Any] = {}
    for kind, clean, prefix, most in (
        ("registrations", clean_registration, "txg", MOST_REGISTRATIONS),
        ("rates", clean_rate, "txr", MOST_RATES),
    ):
        rows = list(sent.get(kind) or ())
        if len(rows) > most:
            problems[kind] = N_("There are too many entries.")
            continue
        new[kind] = []
        for number, item in enumerate(rows):
            wrong: Problems = {}
            row = clean(item, wrong)
            problems |= {f"{kind}.{number}.{name}": text for name, text in wrong.items()}
            new[kind].append({"id": str(item.get("id") or new_id(prefix)), **row})
        if len({row["id"] for row in new[kind]}) < len(new[kind]):
            problems[kind] = N_("Two entries have the same id.")
    new |= clean_general(sent, problems)
    if problems:
        raise Invalid("INVALID_REQUEST_BODY", "; ".join(f"{name}: {text}" for name, text in problems.items()), fields=problems)
    business = the_business(db, write=True)
    if setup_of(business) != new:
        _store(db, business, new, ["tax_setup"])
    return business


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


def needs_rate(row: Mapping[str, Any], setup: Mapping[str, Any]) -> bool:
    """Return whether nothing is charged under a registration, because neither the table nor the business has a rate for it."""
    if row.get("scheme") == OSS or row.get("country") in covered_countries():
        return False
    return not any(
        rate["country"] == row.get("country") and rate.get("region") in (None, row.get("region")) for rate in setup.get("rates") or ()
    )


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


def _save(db: ScopedSession, kind: str, row: dict[str, Any], problems: Problems, row_id: str | None, most: int) -> dict[str, Any]:
    if problems:
        raise Invalid(fields=problems)
    business = the_business(db, write=True)
    setup = setup_of(business)
    rows = [dict(item) for item in setup.get(kind) or ()]
    if row_id is not None and all(item.get("id") != row_id for item in rows):
        raise NotFound()
    if any(_key(item) == _key(row) for item in rows if item.get("id") != row_id):
        raise Invalid(fields={"country": N_("There is already an entry for this country with the same first day. Change that one.")})
    if row_id is None and len(rows) >= most:
        raise Invalid(fields={"country": N_("There are too many entries.")})
    saved = {"id": row_id or new_id("txg" if kind == "registrations" else "txr"), **row}
    rows = [saved if item.get("id") == row_id else item for item in rows] + ([] if row_id else [saved])
    _store(db, business, {**setup, kind: rows}, [kind])
    return saved


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    place = None if row.get("scheme") == OSS else row.get("country")
    return (row.get("scheme"), place, row.get("region"), row.get("category"), row.get("valid_from"))


def _store(db: ScopedSession, business: Business, setup: Mapping[str, Any], fields: list[str]) -> None:
    business.tax_setup, business.tax_rates = dict(setup), {}
    emit(db, "business.taxes_changed", business_id=business.business_id, noun=business.business_id, data={"fields": sorted(fields)})
