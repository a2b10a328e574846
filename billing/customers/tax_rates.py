"""Set the tax rates of a business per buyer's country, and optionally per tax category of the product (billing/pricing/taxes.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from billing.model.parties import Business
from billing.pricing.taxes import parse
from billing.subscriptions.billing_details import COUNTRIES
from core.db import ScopedSession
from core.errors import N_, Invalid, NotFound
from core.outbox import emit


def check_tax_rates(rates: Mapping[str, Any]) -> None:
    """Raises Invalid (tax_rates) for an entry that pricing cannot read."""
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
) -> Business:
    """Set the tax treatment of sales to `country` (`*`: countries without their own), optionally of one `category` only.

    `bps`: 2000 = 20 %. Applies to future invoices; issued ones keep their tax. Raises NotFound, Invalid.
    """
    business = db.scalar(select(Business).where(Business.business_id == business_id).with_for_update())
    if business is None:
        raise NotFound(sentence=N_("There is no such business."))
    entry: dict[str, Any] = {"bps": bps, **({"code": code} if code else {}), **({"reason": reason} if reason else {})}
    rates = dict(business.tax_rates or {})
    if category is not None:
        was = rates.get(country, 0)
        whole = dict(was) if isinstance(was, Mapping) else {"bps": was}
        rates[country] = {**whole, "categories": {**(whole.get("categories") or {}), category: entry}}
    else:
        was = rates.get(country)
        categories = {"categories": was["categories"]} if isinstance(was, Mapping) and was.get("categories") else {}
        rates[country] = {**entry, **categories} if code or reason or categories else bps
    check_tax_rates(rates)
    business.tax_rates = rates
    emit(db, "business.details_changed", business_id=business_id, noun=business_id, data={"fields": ["tax_rates"]})
    return business


def _invalid(problem: str) -> Invalid:
    return Invalid(sentence=f"tax_rates: {problem}", fields={"tax_rates": problem})
