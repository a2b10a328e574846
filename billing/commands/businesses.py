"""A business comes to be."""

from __future__ import annotations

import re
from typing import Any

from billing.commands.tax_rates import check_tax_rates
from billing.parties import Business
from core import clock
from core.currencies import CURRENCIES
from core.db import ScopedSession
from core.errors import Invalid
from core.format import money
from core.ids import new_id
from core.money import DISPUTED, largest
from core.outbox import emit

ORDER = 100
"""How many of its currency's largest prices one order may come to."""


def create_business(
    db: ScopedSession, *, name: str, currency: str, zone: str = "UTC", locale: str = "en", legal_name: str = "",
    address: dict[str, Any] | None = None, tax_id: str | None = None, support_email: str = "", brand: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None, tax_rates: dict[str, Any] | None = None, invoice_prefix: str | None = None,
) -> Business:
    """Only operators do this: `db` is an everything() session. Raises Invalid for a currency we cannot carry."""
    name = " ".join(name.split())
    currency = currency.upper()
    if not name or len(name) > 200:
        raise Invalid(sentence="A business needs a name of 1 to 200 characters.", fields={"name": "Give the business a name."})
    check_currency(currency)
    check_tax_rates(tax_rates or {})
    prefix = invoice_prefix or (re.sub(r"[^A-Z]", "", name.upper())[:3] or "INV")
    business = Business(
        business_id=new_id("bus"), name=name, legal_name=legal_name or name, address=address or {}, tax_id=tax_id,
        support_email=support_email, currency=currency, zone=zone, locale=locale, brand=brand or {}, settings=settings or {},
        tax_rates=tax_rates or {}, invoice_prefix=prefix, created_at=clock.now(),
    )
    db.add(business)
    db.flush()
    emit(db, "business.created", business_id=business.business_id, noun=business.business_id, data={"name": name})
    return business


def check_amount(minor: int, currency: str, field: str = "price", times: int = 1) -> None:
    """`times`: how often the largest price of the currency it may be. Raises Invalid."""
    most = largest(currency) * times
    if minor > most:
        words = f"At most {money(most, currency)}."
        raise Invalid(sentence=f"{field}: {words}", fields={field: words})


def check_currency(currency: str) -> None:
    if currency not in CURRENCIES or currency in DISPUTED:
        raise Invalid("UNSUPPORTED_CURRENCY", f"{currency[:3]} is not a currency we can carry.",
                      fields={"currency": "This currency is not supported."})
