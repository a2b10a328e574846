"""Issuing: number without gaps, lines, and the snapshot that every later document is rendered from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import select

from billing import policy
from billing.invoices import Invoice, InvoiceLine
from billing.numbers import take_number
from billing.parties import Business, Customer
from billing.postal import PARTS, address_lines
from billing.pricing import ITEM, Line, tax_rows
from billing.taxes import is_reverse_charge
from billing.unit_prices import list_net, unit_net
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
    due_minor: int | None = None,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    billing: dict[str, Any] | None = None,
    tax_id: str | None = None,
    business_name: str | None = None,
    test_mode: bool = True,
) -> Invoice:
    """Issue an invoice. Returns the one that exists already for this `operation`, if any (the same work is billed once).

    `lines`: with those of the credit that is used, see billing/credit_lines.py. `due_minor`: where it is not the lines' total, because
    something is carried over from or to another invoice.
    """
    found = db.scalar(select(Invoice).where(Invoice.operation == operation))
    if found is not None:
        return found
    at = clock.now()
    subtotal = sum(one.net_minor for one in lines)
    tax = sum(one.tax_minor for one in lines)
    total = subtotal + tax
    due = total if due_minor is None else due_minor
    items = sum(one.gross_minor for one in lines if one.kind == ITEM)
    invoice = Invoice(
        business_id=business.business_id, customer_id=customer.customer_id, id=new_id("inv"), operation=operation, kind=kind,
        number=take_number(db, business, "invoice", business.invoice_prefix), subscription_id=subscription_id, status="open",
        description=", ".join(one.description for one in lines if one.kind == ITEM)[:200], currency=currency, subtotal_minor=subtotal,
        tax_minor=tax, total_minor=total, credit_applied_minor=items - due, due_minor=due, starts_at=starts_at, ends_at=ends_at,
        issued_at=at, paid_minor=0, refunded_minor=0, credited_minor=0,
    )
    rows = [
        InvoiceLine(
            business_id=business.business_id, customer_id=customer.customer_id, id=new_id("ilin"), invoice_id=invoice.id, position=i,
            product_id=one.product_id, description=one.description, quantity=one.quantity, unit_minor=one.unit_minor,
            net_minor=one.net_minor, tax_minor=one.tax_minor, tax_bps=one.tax_bps, tax_code=one.tax_code,
            tax_reason=one.tax_reason, kind=one.kind, starts_at=one.starts_at, ends_at=one.ends_at, refunded_minor=0,
        )
        for i, one in enumerate(lines)
    ]
    invoice.snapshot = snapshot(business, customer, invoice, lines, billing, tax_id, business_name, test_mode)
    db.add(invoice)
    db.flush()  # the lines' foreign key
    db.add_all(rows)
    emit(db, "invoice.issued", business_id=business.business_id, customer_id=customer.customer_id, noun=invoice.id,
         data={"number": invoice.number, "total": invoice.amount_minor, "currency": currency, "subscription_id": subscription_id})
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
    """Everything a document needs, as it was at the moment of issue (shape: billing/documents).

    `version` 2 has unit prices before tax (`unit_net`), amounts before discounts (`list_minor`), tax treatments, and lines of credit;
    `credit_applied_minor` is what lies between total and due. One without a version prints as it always did.
    """
    if not billing:  # a document without details of its own is made out as the customer's row says, whole
        billing = customer.billing
        if not business_name and not tax_id:
            business_name, tax_id = customer.business_name, _number_of(business, customer, billing or {}, lines)
    address = billing or {}
    return {
        "version": 2, "kind": "invoice", "number": invoice.number,
        "locale": policy.language(business, customer.locale), "zone": business.zone,
        "currency": invoice.currency, "issued_at": invoice.issued_at.isoformat(),
        "period": {"starts_at": invoice.starts_at.isoformat(), "ends_at": invoice.ends_at.isoformat()}
        if invoice.starts_at and invoice.ends_at else None,
        "corrects": None, "credits": None, "seller": seller_of(business),
        "buyer": {
            "name": address.get("name") or customer.name, "business_name": business_name, "email": customer.email,
            "lines": address_lines(address), "address": {part: address.get(part) for part in PARTS}, "country": address.get("country"),
            "tax_id": tax_id,
        },
        "lines": [
            {"kind": one.kind, "description": one.description, "quantity": one.quantity, "unit_minor": one.unit_minor,
             "unit_net": unit_net(one, invoice.currency), "list_minor": list_net(one), "net_minor": one.net_minor,
             "tax_minor": one.tax_minor, "tax_bps": one.tax_bps, "tax_code": one.tax_code, "tax_reason": one.tax_reason,
             "starts_at": one.starts_at.isoformat() if one.starts_at else None,
             "ends_at": one.ends_at.isoformat() if one.ends_at else None}
            for one in lines
        ],
        "subtotal_minor": invoice.subtotal_minor,
        "tax": [asdict(row) for row in tax_rows(lines)],
        "inclusive": any(one.inclusive and one.kind == ITEM and one.tax_bps for one in lines),
        "total_minor": invoice.total_minor, "credit_applied_minor": invoice.total_minor - invoice.due_minor, "due_minor": invoice.due_minor,
        "reason": None, "paid": {"state": "open", "at": None, "method": None}, "test_mode": test_mode,
    }


def _number_of(business: Business, customer: Customer, address: dict[str, Any], lines: Sequence[Line]) -> str | None:
    """The customer's own tax number, for a sale that was priced without one: not where it would have been taxed otherwise with it."""
    number = customer.tax_id
    reverse = is_reverse_charge(business.tax_country, business.tax_id, address.get("country"), number)
    return None if reverse and any(one.tax_minor for one in lines) else number
