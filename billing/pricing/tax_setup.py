"""The tax set-up of a business: its registrations, its own rates and its exempt categories (`businesses.tax_setup`).

    {"registrations": [{id, country, region, scheme, number, valid_from, valid_to}],
     "rates": [{id, country, region, category, bps, code, reason, valid_from, valid_to}],
     "exempt": {tax category: reason}, "prices_include_tax": bool, "category": tax category of new products, "not_registered": bool,
     "calculator": "stripe" or missing, "calculator_account": payment account at Stripe}

Dates are days in ISO 8601; `valid_to` is the last day. `scheme` "oss" covers the consumers of all EU states. Country `*` in a rate means
every country that nothing else covers. A key that is None or missing does not restrict. With the calculator "stripe", Stripe Tax
decides, and registrations, rates and exemptions here are not used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from billing.pricing.terms import Seller
from core import clock

Row = Mapping[str, Any]
OSS, LOCAL = "oss", "local"
"""Schemes of registrations: the EU's OSS, and a registration in one country or region."""
TABLE, STRIPE = "table", "stripe"
"""Calculators: the portal's own table, and Stripe Tax."""


def setup_of(seller: Seller) -> Row:
    """Return the set-up. Rows from before revision 0033 have rates only, in `tax_rates`."""
    found: Row | None = seller.tax_setup
    return found if found is not None else from_rates(seller.tax_rates or {})


def is_set_up(seller: Seller) -> bool:
    """Return whether the business said how its sales are taxed, even if it said that no tax is charged."""
    setup = setup_of(seller)
    return bool(setup.get("registrations") or setup.get("rates") or setup.get("not_registered") or setup.get("calculator"))


def hosted_account(seller: Seller) -> str | None:
    """Return the payment account whose hosted calculator decides the tax, None if the portal's own table does."""
    setup = setup_of(seller)
    return str(setup.get("calculator_account") or "") if setup.get("calculator") == STRIPE else None


def from_rates(tax_rates: Mapping[str, Any]) -> dict[str, Any]:
    """Convert {country: basis points, or {bps, code, reason, categories}} to a set-up with the same treatments."""
    rates: list[dict[str, Any]] = []
    for country, entry in tax_rates.items():
        rates.append({"country": country, **_values(entry)})
        if isinstance(entry, Mapping):
            rates += [{"country": country, "category": name, **_values(own)} for name, own in (entry.get("categories") or {}).items()]
    for number, rate in enumerate(rates, 1):
        rate["id"] = f"txr_{number}"
    return {"rates": rates} if rates else {}


def to_rates(setup: Row) -> dict[str, Any]:
    """Return the own rates without dates and regions in the form of `from_rates`."""
    out: dict[str, Any] = {}
    rows = [row for row in setup.get("rates") or () if not any(row.get(name) for name in ("region", "valid_from", "valid_to"))]
    for row in sorted(rows, key=lambda item: bool(item.get("category"))):
        values = {name: row[name] for name in ("bps", "code", "reason") if name in row}
        if row.get("category"):
            whole = out.get(row["country"], 0)
            whole = dict(whole) if isinstance(whole, Mapping) else {"bps": whole}
            out[row["country"]] = {**whole, "categories": {**whole.get("categories", {}), row["category"]: values}}
        else:
            out[row["country"]] = values["bps"] if set(values) == {"bps"} else values
    return out


def _values(entry: Any) -> dict[str, Any]:
    data: Mapping[str, Any] = entry if isinstance(entry, Mapping) else {"bps": entry or 0}
    return {"bps": int(data.get("bps") or 0), **{name: data[name] for name in ("code", "reason") if name in data}}


def tax_day(seller: Seller, at: datetime | None) -> str:
    """Return the day of a tax point in the time zone of the business. `at` None: now."""
    return (at or clock.now()).astimezone(ZoneInfo(seller.zone or "UTC")).date().isoformat()


def is_valid(row: Row, on: str) -> bool:
    return (row.get("valid_from") or on) <= on <= (row.get("valid_to") or on)


def own_rate(setup: Row, country: str, region: str | None, category: str | None, on: str) -> Row | None:
    """Return the own rate that applies on a day: region before category before country, then the one that began last."""
    fitting = [
        row
        for row in setup.get("rates") or ()
        if row["country"] == country
        and row.get("region") in (None, region)
        and row.get("category") in (None, category)
        and is_valid(row, on)
    ]
    return max(fitting, key=lambda row: (bool(row.get("region")), bool(row.get("category")), row.get("valid_from") or ""), default=None)


def registration(setup: Row, country: str | None, region: str | None, on: str) -> Row | None:
    """Return the registration in a country, or in its region, that is valid on a day."""
    rows: Sequence[Row] = setup.get("registrations") or ()
    fitting = [
        row
        for row in rows
        if row.get("scheme") != OSS and row.get("country") == country and row.get("region") in (None, region) and is_valid(row, on)
    ]
    return max(fitting, key=lambda row: bool(row.get("region")), default=None)


def oss_registration(setup: Row, on: str) -> Row | None:
    """Return the registration for the EU's OSS that is valid on a day."""
    return next((row for row in setup.get("registrations") or () if row.get("scheme") == OSS and is_valid(row, on)), None)
