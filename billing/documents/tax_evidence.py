"""The evidence of where a buyer is and how the sale was taxed, kept with each invoice (Implementing Regulation 282/2011, art. 24b and 24f).

    {"country", "region", "decided_by": "address" | "none", "clear": bool, "facts": {"address", "card", "ip"}, "established",
     "cases": [why each treatment applied], "registration": number or None, "tax_point": day, "vat_id": {number, status, checked_at, …},
     "calculation": {reference, rates: [percentage]} of a hosted calculator, or None}

The address decides the country. `clear` is False if the country of the card or of the IP address is known and differs. The IP address is
the one of the latest payment that the customer started at the portal; only its country is stored, with the payment's author.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from billing.model.invoices import Invoice
from billing.model.parties import Business
from billing.model.payments import Payment, PaymentMethod
from billing.model.regions import region_code
from billing.model.tax_calculations import TaxCalculation
from billing.model.tax_id_checks import NOT_CHECKED, TaxIdCheck
from billing.pricing.prices import ITEM, PriceLine
from billing.pricing.tax_setup import oss_registration, registration, setup_of, tax_day
from billing.pricing.taxes import DOMESTIC, LOCAL, ORIGIN, OSS, full_vat_id
from core.db import ScopedSession


def evidence(
    db: ScopedSession, business: Business, invoice: Invoice, address: dict[str, Any], method_id: str | None, lines: Sequence[PriceLine]
) -> dict[str, Any]:
    """Return the evidence for a new invoice with these lines. Its tax point is the start of its period, or else its issue."""
    customer_id, tax_id, at = invoice.customer_id, invoice.snapshot["buyer"]["tax_id"], invoice.starts_at or invoice.issued_at
    country, region = address.get("country") or None, region_code(address.get("country"), address.get("state"))
    query = select(PaymentMethod.country).where(PaymentMethod.customer_id == customer_id, PaymentMethod.id == method_id)
    card = (db.scalar(query) if method_id else None) or None
    ip = _ip_country(db, business.business_id, customer_id)
    cases = sorted({line.tax_case for line in lines if line.kind == ITEM and line.tax_case})
    return {
        "country": country,
        "region": region,
        "decided_by": "address" if country else "none",
        "clear": not (country and {card, ip} - {country, None}),
        "facts": {"address": country, "card": card, "ip": ip},
        "established": business.tax_country,
        "cases": cases,
        "registration": _registration_number(business, cases, country, region, tax_day(business, at)),
        "tax_point": tax_day(business, at),
        "vat_id": _vat_id(db, business.business_id, customer_id, tax_id, country),
        "calculation": _calculation(db, invoice),
    }


def _ip_country(db: ScopedSession, business_id: str, customer_id: str) -> str | None:
    named = Payment.author["country"].as_string()
    query = select(named).where(Payment.business_id == business_id, Payment.customer_id == customer_id, named.is_not(None))
    found: str | None = db.scalar(query.order_by(Payment.created_at.desc(), Payment.id).limit(1))
    return found


def _calculation(db: ScopedSession, invoice: Invoice) -> dict[str, Any] | None:
    """Return the calculation of a hosted calculator from which the invoice has its tax."""
    of_invoice = (TaxCalculation.business_id == invoice.business_id, TaxCalculation.operation == invoice.operation)
    found = db.scalar(select(TaxCalculation).where(*of_invoice))
    return {"reference": found.reference, "rates": [line["rate"] for line in found.lines]} if found else None


def _registration_number(business: Business, cases: list[str], country: str | None, region: str | None, on: str) -> str | None:
    """Return the number of the registration under which tax was charged."""
    setup = setup_of(business)
    if OSS in cases:
        found = oss_registration(setup, on)
    elif DOMESTIC in cases or ORIGIN in cases:
        found = registration(setup, business.tax_country, None, on)
    else:
        found = registration(setup, country, region, on) if LOCAL in cases else None
    return str(found.get("number") or "") or None if found else None


def _vat_id(db: ScopedSession, business_id: str, customer_id: str, tax_id: str | None, country: str | None) -> dict[str, Any] | None:
    """Return the number with the latest answer of VIES, as proof of a reverse charge. None without an EU VAT ID."""
    number = full_vat_id(tax_id, country)
    if number is None:
        return None
    query = select(TaxIdCheck).where(TaxIdCheck.business_id == business_id, TaxIdCheck.id == f"{customer_id}:{number}")
    check = db.scalar(query)
    if check is None:
        return {"number": number, "status": NOT_CHECKED, "checked_at": None, "consultation": None, "name": None}
    return {
        "number": number,
        "status": check.status,
        "checked_at": check.checked_at.isoformat() if check.checked_at else None,
        "consultation": check.consultation,
        "name": check.name,
    }
