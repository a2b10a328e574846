"""Read the evidence of the tax of an invoice, for staff (format: billing/documents/tax_evidence.py)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from billing.model.invoices import Invoice
from billing.model.tax_calculations import SALE, TaxReport
from core.db import ScopedSession


def evidence_of(db: ScopedSession, invoice_id: str | None) -> dict[str, Any] | None:
    """Return the evidence. None without an invoice, and for invoices from before it was kept or from another system."""
    if invoice_id is None:
        return None
    found: dict[str, Any] | None = db.scalar(select(Invoice.tax_evidence).where(Invoice.id == invoice_id))
    return found


def recorded_sale(db: ScopedSession, invoice_id: str | None) -> str | None:
    """Return the id under which the hosted calculator recorded the sale of an invoice. None if it has none, or not yet."""
    found: str | None = db.scalar(select(TaxReport.reference).where(TaxReport.id == f"{SALE}:{invoice_id}")) if invoice_id else None
    return found
