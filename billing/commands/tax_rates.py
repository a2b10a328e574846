"""Tax rates of a business, as data: per country of the buyer, and within it per tax category of the product (billing/taxes.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from billing.commands.billing_details import COUNTRIES
from billing.parties import Business
from billing.taxes import parse
from core.db import ScopedSession
from core.errors import Invalid, NotFound
from core.outbox import emit


def check_tax_rates(rates: Mapping[str, Any]) -> None:
    """Raises Invalid (tax_rates) for an entry that pricing could not read."""
    for country, entry in rates.items():
        if country != "*" and country not in COUNTRIES:
            raise _wrong(f"{country[:10]} is not a country.")
        categories = entry.get("categories") or {} if isinstance(entry, Mapping) else {}
        try:
            for one in (entry, *categories.values()):
                parse(one)
        except (ValueError, TypeError) as problem:
            raise _wrong(str(problem)) from None


def set_tax_rate(
    db: ScopedSession, business_id: str, country: str, bps: int, *, code: str | None = None, reason: str | None = None,
    category: str | None = None,
) -> Business:
    """The treatment of what is sold to `country` (`*`: any that has none of its own); of one `category` alone, if named.

    What was sold keeps the tax it was sold with; the next invoice has the new one. Raises NotFound, Invalid.
    """
    business = db.scalar(select(Business).where(Business.business_id == business_id).with_for_update())
    if business is None:
        raise NotFound(sentence="There is no such business.")
    entry: dict[str, Any] = {"bps": bps, **({"code": code} if code else {}), **({"reason": reason} if reason else {})}
    rates = dict(business.tax_rates or {})
    if category is not None:
        was = rates.get(country, 0)
        whole = dict(was) if isinstance(was, Mapping) else {"bps": was}
        rates[country] = {**whole, "categories": {**(whole.get("categories") or {}), category: entry}}
    else:
        was = rates.get(country)
        kept = {"categories": was["categories"]} if isinstance(was, Mapping) and was.get("categories") else {}
        rates[country] = {**entry, **kept} if code or reason or kept else bps
    check_tax_rates(rates)
    business.tax_rates = rates
    emit(db, "business.details_changed", business_id=business_id, noun=business_id, data={"fields": ["tax_rates"]})
    return business


def _wrong(words: str) -> Invalid:
    return Invalid(sentence=f"tax_rates: {words}", fields={"tax_rates": words})
