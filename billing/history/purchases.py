"""Read one-time purchases, newest first, in one statement."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, select

from billing.model.invoices import Invoice
from billing.model.payments import Payment
from core.db import ScopedSession


@dataclass(slots=True)
class PurchaseRow:
    business_id: str
    id: str
    name: str | None
    at: datetime
    minor: int
    currency: str
    status: str
    unknown: bool
    refunded_minor: int
    disputed_minor: int
    invoice_id: str | None
    number: str | None


def purchases(db: ScopedSession, before: tuple[datetime, str] | None = None, limit: int = 25) -> list[PurchaseRow]:
    """Succeeded or open payments without a subscription. `before`: (at, id) of the last row seen."""
    query = (
        select(
            Payment.business_id,
            Payment.id,
            Invoice.description,
            Payment.created_at,
            Payment.amount_minor,
            Payment.currency,
            Payment.status,
            Payment.unknown,
            Payment.refunded_minor,
            Payment.disputed_minor,
            Invoice.id,
            Invoice.number,
        )
        .outerjoin(Invoice, and_(Invoice.business_id == Payment.business_id, Invoice.id == Payment.invoice_id))
        .where(
            Payment.subscription_id.is_(None),
            Payment.charge_type != "method",
            Payment.status.in_(("succeeded", "processing", "requires_customer_action")),
        )
        .order_by(Payment.created_at.desc(), Payment.id.desc())
        .limit(limit)
    )
    if before:
        at, item = before
        query = query.where((Payment.created_at < at) | ((Payment.created_at == at) & (Payment.id < item)))
    return [PurchaseRow(*tuple(row)) for row in db.execute(query)]
