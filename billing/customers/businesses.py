"""Create businesses."""

from __future__ import annotations

import re
from typing import Any

from billing.customers.tax_rates import check_tax_rates
from billing.model.parties import Business
from billing.model.payment_accounts import SANDBOX, add_sandbox_account
from billing.pricing.limits import check_currency
from billing.pricing.tax_setup import from_rates
from core import clock
from core.db import ScopedSession
from core.errors import N_, Invalid
from core.ids import new_id
from core.outbox import emit


def create_business(
    db: ScopedSession,
    *,
    name: str,
    currency: str,
    zone: str = "UTC",
    locale: str = "en",
    legal_name: str = "",
    address: dict[str, Any] | None = None,
    tax_id: str | None = None,
    support_email: str = "",
    brand: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
    tax_rates: dict[str, Any] | None = None,
    invoice_prefix: str | None = None,
) -> Business:
    """Create a business; operators only. `db` is an `everything()` session. Raises Invalid, also for an unsupported currency."""
    name = " ".join(name.split())
    currency = currency.upper()
    if not name or len(name) > 200:
        raise Invalid(
            sentence=N_("A business must have a name of 1 to 200 characters."), fields={"name": N_("Enter a name for the business.")}
        )
    check_currency(currency)
    check_tax_rates(tax_rates or {})
    prefix = invoice_prefix or (re.sub(r"[^A-Z]", "", name.upper())[:3] or "INV")
    business = Business(
        business_id=new_id("bus"),
        name=name,
        legal_name=legal_name or name,
        address=address or {},
        tax_id=tax_id,
        support_email=support_email,
        currency=currency,
        zone=zone,
        locale=locale,
        brand=brand or {},
        settings=settings or {},
        tax_setup=from_rates(tax_rates or {}),
        tax_rates={},
        invoice_prefix=prefix,
        created_at=clock.now(),
    )
    db.add(business)
    db.flush()
    if SANDBOX in db.settings.processor_kinds:
        add_sandbox_account(db, business.business_id)
    emit(db, "business.created", business_id=business.business_id, noun=business.business_id, data={"name": name})
    return business
