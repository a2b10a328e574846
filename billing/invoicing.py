"""Issuing: number without gaps, lines, and the snapshot that every later document is rendered from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select

from billing import policy
from billing.invoices import Invoice, InvoiceLine
from billing.numbers import take_number
from billing.parties import Business, Customer
from billing.pricing import Line
from core import clock
from core.db import ScopedSession
from core.ids import new_id
from core.outbox import emit


def issue(
    db: ScopedSession,
    business: Business,
    customer: Customer,
    *,
    operation: str,
    kind: str,
    lines: Sequence[Line],
    currency: str,
    subscription_id: str | None = None,
    credit_minor: int = 0,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    billing: dict[str, Any] | None = None,
    tax_id: str | None = None,
    business_name: str | None = None,
    test_mode: bool = True,
) -> Invoice:
    """Issue an invoice. Returns the one that exists already for this `operation`, if any (the same work is billed once)."""
    found = db.scalar(select(Invoice).where(Invoice.operation == operation))
    if found is not None:
        return found
    at = clock.now()
    subtotal = sum(one.net_minor for one in lines)
    tax = sum(one.tax_minor for one in lines)
    total = subtotal + tax
    credit = min(credit_minor, max(total, 0))  # negative: too little to charge before, so it is due now
    invoice = Invoice(
        business_id=business.business_id, customer_id=customer.customer_id, id=new_id("inv"), operation=operation, kind=kind,
        number=take_number(db, business, "invoice", business.invoice_prefix), subscription_id=subscription_id, status="open",
        description=", ".join(one.description for one in lines)[:200], currency=currency, subtotal_minor=subtotal, tax_minor=tax,
        total_minor=total, credit_applied_minor=credit, due_minor=total - credit, starts_at=starts_at, ends_at=ends_at,
        issued_at=at, paid_minor=0, refunded_minor=0, credited_minor=0,
    )
    rows = [
        InvoiceLine(
            business_id=business.business_id, customer_id=customer.customer_id, id=new_id("ilin"), invoice_id=invoice.id, position=i,
            product_id=one.product_id, description=one.description, quantity=one.quantity, unit_minor=one.unit_minor,
            net_minor=one.net_minor, tax_minor=one.tax_minor, tax_bps=one.tax_bps, starts_at=one.starts_at, ends_at=one.ends_at,
            refunded_minor=0,
        )
        for i, one in enumerate(lines)
    ]
    invoice.snapshot = snapshot(business, customer, invoice, lines, billing, tax_id, business_name, test_mode)
    db.add(invoice)
    db.flush()  # the lines' foreign key
    db.add_all(rows)
    emit(db, "invoice.issued", business_id=business.business_id, customer_id=customer.customer_id, noun=invoice.id,
         data={"number": invoice.number, "total": total, "currency": currency, "subscription_id": subscription_id})
    return invoice


def seller_of(business: Business) -> dict[str, Any]:
    return {
        "name": business.name, "legal_name": business.legal_name or business.name, "lines": address_lines(business.address),
        "country": (business.address or {}).get("country"), "tax_id": business.tax_id, "email": business.support_email,
        "accent": (business.brand or {}).get("accent", ""),
    }


def snapshot(
    business: Business, customer: Customer, invoice: Invoice, lines: Sequence[Line], billing: dict[str, Any] | None,
    tax_id: str | None, business_name: str | None, test_mode: bool,
) -> dict[str, Any]:
    """Everything a document needs, as it was at the moment of issue (shape: billing/documents)."""
    rates: dict[int, list[int]] = {}
    for one in lines:
        sums = rates.setdefault(one.tax_bps, [0, 0])
        sums[0] += one.net_minor
        sums[1] += one.tax_minor
    address = billing or customer.billing or {}
    return {
        "kind": "invoice", "number": invoice.number, "locale": policy.language(business, customer.locale), "zone": business.zone,
        "currency": invoice.currency, "issued_at": invoice.issued_at.isoformat(),
        "period": {"starts_at": invoice.starts_at.isoformat(), "ends_at": invoice.ends_at.isoformat()}
        if invoice.starts_at and invoice.ends_at else None,
        "corrects": None, "credits": None, "seller": seller_of(business),
        "buyer": {
            "name": address.get("name") or customer.name, "business_name": business_name or customer.business_name, "email": customer.email,
            "lines": address_lines(address), "country": address.get("country"), "tax_id": tax_id or customer.tax_id,
        },
        "lines": [
            {"description": one.description, "quantity": one.quantity, "unit_minor": one.unit_minor, "net_minor": one.net_minor,
             "tax_minor": one.tax_minor, "tax_bps": one.tax_bps,
             "starts_at": one.starts_at.isoformat() if one.starts_at else None,
             "ends_at": one.ends_at.isoformat() if one.ends_at else None}
            for one in lines
        ],
        "subtotal_minor": invoice.subtotal_minor,
        "tax": [{"bps": bps, "net_minor": net, "tax_minor": tax} for bps, (net, tax) in sorted(rates.items())],
        "total_minor": invoice.total_minor, "credit_applied_minor": invoice.credit_applied_minor, "due_minor": invoice.due_minor,
        "reason": None, "paid": {"state": "open", "at": None, "method": None}, "test_mode": test_mode,
    }


def address_lines(address: dict[str, Any] | None) -> list[str]:
    """Street, then city and code, then region: as printed."""
    one = address or {}
    place = " ".join(part for part in (one.get("zipcode"), one.get("city")) if part)
    return [part for part in (one.get("street"), place, one.get("state")) if part]
