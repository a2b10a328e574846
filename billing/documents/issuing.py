"""Issues invoices: their gapless number, their lines, and the snapshot from which every later document is rendered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import select

from billing.documents.numbering import take_number
from billing.documents.tax_evidence import evidence
from billing.model import policy
from billing.model.invoices import Invoice, InvoiceLine
from billing.model.parties import Business, Customer
from billing.model.postal_addresses import PARTS, address_lines
from billing.pricing.prices import ITEM, PriceLine, tax_rows
from billing.pricing.taxes import is_reverse_charge
from billing.pricing.unit_prices import list_net, unit_net
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
    lines: Sequence[PriceLine],
    currency: str,
    subscription_id: str | None = None,
    due_minor: int | None = None,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    billing: dict[str, Any] | None = None,
    tax_id: str | None = None,
    business_name: str | None = None,
    method_id: str | None = None,
    test_mode: bool = True,
) -> Invoice:
    """Issue an invoice, or return the existing invoice of this `operation`, so that the same work is billed once.

    `lines` include the credit that is used, see billing/pricing/credit_lines.py. `due_minor` is given if it differs from the total of the
    lines, because an amount is carried over from or to another invoice. `method_id`: the payment method, for the evidence of the tax.
    """
    if (found := db.scalar(select(Invoice).where(Invoice.operation == operation))) is not None:
        return found
    at = clock.now()
    invoice = Invoice(
        business_id=business.business_id,
        customer_id=customer.customer_id,
        id=new_id("inv"),
        operation=operation,
        kind=kind,
        number=take_number(db, business, "invoice", business.invoice_prefix),
        subscription_id=subscription_id,
        status="open",
        description=", ".join(line.description for line in lines if line.kind == ITEM)[:200],
        currency=currency,
        starts_at=starts_at,
        ends_at=ends_at,
        issued_at=at,
        **_amounts(lines, due_minor),
    )
    invoice.snapshot = snapshot(
        business, customer, invoice, lines, billing=billing, tax_id=tax_id, business_name=business_name, test_mode=test_mode
    )
    invoice.tax_evidence = evidence(db, business, invoice, billing or customer.billing or {}, method_id, lines)
    rows = [_invoice_line(invoice, position, line) for position, line in enumerate(lines)]
    db.add(invoice)
    db.flush()  # the lines' foreign key
    db.add_all(rows)
    emit(
        db,
        "invoice.issued",
        business_id=business.business_id,
        customer_id=customer.customer_id,
        noun=invoice.id,
        data={"number": invoice.number, "total": invoice.amount_minor, "currency": currency, "subscription_id": subscription_id},
    )
    return invoice


def _amounts(lines: Sequence[PriceLine], due_minor: int | None) -> dict[str, int]:
    """Return the amounts of a new invoice in minor units. `due_minor` None: the total of the lines is due."""
    subtotal = sum(line.net_minor for line in lines)
    tax = sum(line.tax_minor for line in lines)
    due = subtotal + tax if due_minor is None else due_minor
    items = sum(line.gross_minor for line in lines if line.kind == ITEM)
    return {
        "subtotal_minor": subtotal,
        "tax_minor": tax,
        "total_minor": subtotal + tax,
        "credit_applied_minor": items - due,
        "due_minor": due,
        "paid_minor": 0,
        "refunded_minor": 0,
        "credited_minor": 0,
    }


def _invoice_line(invoice: Invoice, position: int, line: PriceLine) -> InvoiceLine:
    return InvoiceLine(
        business_id=invoice.business_id,
        customer_id=invoice.customer_id,
        id=new_id("ilin"),
        invoice_id=invoice.id,
        position=position,
        product_id=line.product_id,
        description=line.description,
        quantity=line.quantity,
        unit_minor=line.unit_minor,
        net_minor=line.net_minor,
        tax_minor=line.tax_minor,
        tax_bps=line.tax_bps,
        tax_code=line.tax_code,
        tax_reason=line.tax_reason,
        kind=line.kind,
        starts_at=line.starts_at,
        ends_at=line.ends_at,
        refunded_minor=0,
    )


def seller_of(business: Business) -> dict[str, Any]:
    return {
        "name": business.name,
        "legal_name": business.legal_name or business.name,
        "lines": address_lines(business.address),
        "country": (business.address or {}).get("country"),
        "tax_id": business.tax_id,
        "email": business.support_email,
        "accent": (business.brand or {}).get("accent", ""),
    }


def snapshot(
    business: Business,
    customer: Customer,
    invoice: Invoice,
    lines: Sequence[PriceLine],
    *,
    billing: dict[str, Any] | None,
    tax_id: str | None,
    business_name: str | None,
    test_mode: bool,
) -> dict[str, Any]:
    """Return everything a document needs, as of the time of issue (format: billing/documents).

    `version` 2 has unit prices before tax (`unit_net`), amounts before discounts (`list_minor`), tax treatments and lines of credit.
    `credit_applied_minor` is the difference between total and due. A snapshot without a version prints unchanged.
    """
    if not billing:  # without its own details, the document is made out to the details of the customer, as a whole
        billing = customer.billing
        if not business_name and not tax_id:
            business_name, tax_id = customer.business_name, _tax_id_of(business, customer, billing or {}, lines)
    return {
        "version": 2,
        "kind": "invoice",
        "number": invoice.number,
        "locale": policy.language(business, customer.locale),
        "zone": business.zone,
        "currency": invoice.currency,
        "issued_at": invoice.issued_at.isoformat(),
        "period": {"starts_at": invoice.starts_at.isoformat(), "ends_at": invoice.ends_at.isoformat()}
        if invoice.starts_at and invoice.ends_at
        else None,
        "corrects": None,
        "credits": None,
        "seller": seller_of(business),
        "buyer": _buyer(customer, billing or {}, business_name, tax_id),
        "lines": [_snapshot_line(line, invoice.currency) for line in lines],
        "subtotal_minor": invoice.subtotal_minor,
        "tax": [{name: value for name, value in asdict(row).items() if name != "rate" or value} for row in tax_rows(lines)],
        "inclusive": any(line.inclusive and line.kind == ITEM and line.tax_bps for line in lines),
        "total_minor": invoice.total_minor,
        "credit_applied_minor": invoice.total_minor - invoice.due_minor,
        "due_minor": invoice.due_minor,
        "reason": None,
        "paid": {"state": "open", "at": None, "method": None},
        "test_mode": test_mode,
    }


def _buyer(customer: Customer, address: dict[str, Any], business_name: str | None, tax_id: str | None) -> dict[str, Any]:
    return {
        "name": address.get("name") or customer.name,
        "business_name": business_name,
        "email": customer.email,
        "lines": address_lines(address),
        "address": {part: address.get(part) for part in PARTS},
        "country": address.get("country"),
        "tax_id": tax_id,
    }


def _snapshot_line(line: PriceLine, currency: str) -> dict[str, Any]:
    return {
        "kind": line.kind,
        "description": line.description,
        "quantity": line.quantity,
        "unit_minor": line.unit_minor,
        "unit_net": unit_net(line, currency),
        "list_minor": list_net(line),
        "net_minor": line.net_minor,
        "tax_minor": line.tax_minor,
        "tax_bps": line.tax_bps,
        "tax_code": line.tax_code,
        "tax_reason": line.tax_reason,
        "starts_at": line.starts_at.isoformat() if line.starts_at else None,
        "ends_at": line.ends_at.isoformat() if line.ends_at else None,
        **({"tax_rate": line.tax_rate} if line.tax_rate else {}),
    }


def _tax_id_of(business: Business, customer: Customer, address: dict[str, Any], lines: Sequence[PriceLine]) -> str | None:
    """Return the customer's own tax ID, for a sale that was priced without one. None if the tax ID would have changed the tax."""
    number = customer.tax_id
    reverse = is_reverse_charge(business.tax_country, business.tax_id, address.get("country"), number)
    return None if reverse and any(line.tax_minor for line in lines) else number
