"""Returns the text of a charge that the bank shows."""

from __future__ import annotations

from sqlalchemy import select

from billing.model.invoices import InvoiceLine
from billing.model.payments import Payment
from billing.pricing.prices import ITEM
from core.db import ScopedSession


def description_of(db: ScopedSession, payment: Payment) -> str:
    """Return the text that the bank shows. It comes from the issued invoice, so that a repeated call has the same text (safety 4.4)."""
    if payment.charge_type == "method":
        return "payment method"
    lines = [line.get("description", "") for line in payment.cart if line.get("kind", ITEM) == ITEM]
    if not lines:
        issued = select(InvoiceLine.description).where(InvoiceLine.invoice_id == payment.invoice_id, InvoiceLine.kind == ITEM)
        lines = list(db.scalars(issued.order_by(InvoiceLine.position)))
    return ", ".join(dict.fromkeys(lines)) or payment.charge_type.replace("_", " ")
