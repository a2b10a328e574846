"""The table of VAT rates that registrations use: EU states, United Kingdom, Switzerland and Norway (default_rates.csv).

Each row has its validity and its source. The present standard rates were compared with the data of `eu-vat-rates-data` (MIT) on the day in
`checked`. First days, rates that ended, and rates of a tax category were not compared with any source, and have no day. The console says
so. A business can enter its own rate instead.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from billing.pricing.tax_setup import OSS

FILE = Path(__file__).with_name("default_rates.csv")


@dataclass(frozen=True)
class DefaultRate:
    """`bps`: basis points, 1900 = 19 %. `category` None: every category without its own row. Dates are ISO 8601, `valid_to` is the last."""

    country: str
    category: str | None
    bps: int
    valid_from: str
    valid_to: str | None
    source: str
    checked: str | None


@lru_cache(maxsize=1)
def all_rates() -> tuple[DefaultRate, ...]:
    with FILE.open(encoding="utf-8", newline="") as lines:
        return tuple(
            DefaultRate(
                row["country"],
                row["category"] or None,
                int(row["bps"]),
                row["valid_from"],
                row["valid_to"] or None,
                row["source"],
                row["checked"] or None,
            )
            for row in csv.DictReader(lines)
        )


@lru_cache(maxsize=1)
def _by_country() -> dict[str, list[DefaultRate]]:
    out: dict[str, list[DefaultRate]] = {}
    for rate in all_rates():
        out.setdefault(rate.country, []).append(rate)
    return out


def countries() -> frozenset[str]:
    """Return the countries that the table covers."""
    return frozenset(_by_country())


def default_rate(country: str | None, category: str | None, on: str) -> DefaultRate | None:
    """Return the rate of a country on a day (ISO 8601): that of the category, or else the standard rate. None if the table has none."""
    valid = [rate for rate in _by_country().get(country or "", ()) if rate.valid_from <= on and on <= (rate.valid_to or on)]
    own = [rate for rate in valid if rate.category == category and category]
    return next(iter(own or [rate for rate in valid if rate.category is None]), None)


def current_rates(on: str) -> list[DefaultRate]:
    """Return the rates that are valid on a day, and those that begin later."""
    return [rate for rate in all_rates() if on <= (rate.valid_to or on)]


def needs_rate(row: Mapping[str, Any], setup: Mapping[str, Any]) -> bool:
    """Return whether nothing is charged under a registration, because neither the table nor the business has a rate for it."""
    if row.get("scheme") == OSS or row.get("country") in countries():
        return False
    return not any(
        rate["country"] == row.get("country") and rate.get("region") in (None, row.get("region")) for rate in setup.get("rates") or ()
    )
