"""Set the tax rates of a business per buyer's country, for the command line and for new businesses (billing/pricing/tax_setup.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from billing.customers.tax_settings import MOST_RATES
from billing.model.parties import Business
from billing.pricing.tax_setup import setup_of
from billing.pricing.taxes import parse
from billing.subscriptions.billing_details import COUNTRIES
from core.db import ScopedSession
from core.errors import N_, Invalid, NotFound
from core.ids import new_id
from core.outbox import emit


def check_tax_rates(rates: Mapping[str, Any]) -> None:
    """Check {country: basis points, or {bps, code, reason, categories}}. Raises Invalid (tax_rates) for what pricing cannot read."""
    for country, entry in rates.items():
        if country != "*" and country not in COUNTRIES:
            raise _invalid(f"{country[:10]} is not a country.")
        categories = entry.get("categories") or {} if isinstance(entry, Mapping) else {}
        try:
            for item in (entry, *categories.values()):
                parse(item)
        except (ValueError, TypeError) as problem:
            raise _invalid(str(problem)) from None


def set_tax_rate(
    db: ScopedSession,
    business_id: str,
    country: str,
    bps: int,
    *,
    code: str | None = None,
    reason: str | None = None,
    category: str | None = None,
    valid_from: str | None = None,
) -> Business:
    """Set the tax rate of sales to `country` (`*`: countries that nothing else covers), optionally of one `category` only.

    `bps`: 2000 = 20 %. `valid_from`: the first day (ISO 8601), None replaces the rate without dates. Applies to future invoices; issued
    ones keep their tax. Raises NotFound, Invalid.
    """
    business = db.scalar(select(Business).where(Business.business_id == business_id).with_for_update())
    if business is None:
        raise NotFound(sentence=N_("There is no such business."))
    entry: dict[str, Any] = {"bps": bps, **({"code": code} if code else {}), **({"reason": reason} if reason else {})}
    check_tax_rates({country: entry})
    key = {"country": country, "category": category, "region": None, "valid_from": valid_from, "valid_to": None}
    setup = setup_of(business)
    rates = [row for row in setup.get("rates") or () if any(row.get(name) != value for name, value in key.items())]
    if len(rates) >= MOST_RATES:
        raise _invalid("there are too many rates.")
    named = {name: value for name, value in key.items() if value}
    business.tax_setup, business.tax_rates = {**setup, "rates": [*rates, {"id": new_id("txr"), **named, **entry}]}, {}
    emit(db, "business.taxes_changed", business_id=business_id, noun=business_id, data={"fields": ["rates"]})
    return business


def _invalid(problem: str) -> Invalid:
    return Invalid(sentence=f"tax_rates: {problem}", fields={"tax_rates": problem})
