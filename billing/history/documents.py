"""Read one invoice, refund or purchase with its related rows. All functions raise NotFound for rows outside the scope."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, select
from sqlalchemy.orm import undefer

from billing.model.catalogue import Product
from billing.model.corrections import Correction
from billing.model.invoices import Invoice
from billing.model.payments import Payment, Refund
from billing.model.provenance import made_here_first
from core.db import ScopedSession
from core.errors import NotFound


@dataclass(frozen=True)
class OneInvoice:
    invoice: Invoice
    snapshot: dict[str, Any]
    payments: list[Payment]
    refunds: list[Refund]

    @property
    def paid_by(self) -> Payment | None:
        return next((payment for payment in self.payments if payment.status == "succeeded"), None)

    @property
    def under_way(self) -> Payment | None:
        return next((payment for payment in self.payments if payment.is_open), None)


def invoice(db: ScopedSession, invoice_id: str) -> OneInvoice:
    """An invoice with its payments and refunds, in three statements. If an imported row shares the id, returns the one issued here."""
    row = db.execute(
        select(Invoice, Invoice.snapshot).where(Invoice.id == invoice_id).order_by(made_here_first(Invoice), Invoice.business_id).limit(1)
    ).first()
    if row is None:
        raise NotFound()
    found: Invoice = row[0]
    payments = db.scalars(
        select(Payment)
        .where(Payment.business_id == found.business_id, Payment.customer_id == found.customer_id, Payment.invoice_id == found.id)
        .order_by(Payment.created_at.desc())
    )
    refunds = db.scalars(
        select(Refund)
        .where(Refund.business_id == found.business_id, Refund.customer_id == found.customer_id, Refund.invoice_id == found.id)
        .order_by(Refund.created_at.desc())
    )
    return OneInvoice(found, row[1], list(payments), list(refunds))


def corrections(db: ScopedSession, invoice_id: str, with_snapshots: bool = False) -> list[Correction]:
    """The corrected documents of an invoice, oldest first. `with_snapshots`: load their snapshots too."""
    query = select(Correction).where(Correction.invoice_id == invoice_id).order_by(Correction.version)
    return list(db.scalars(query.options(undefer(Correction.snapshot)) if with_snapshots else query))


def refund(db: ScopedSession, refund_id: str) -> tuple[Refund, Payment, Invoice | None]:
    row = db.execute(
        select(Refund, Payment, Invoice)
        .join(Payment, and_(Payment.business_id == Refund.business_id, Payment.id == Refund.payment_id))
        .outerjoin(Invoice, and_(Invoice.business_id == Refund.business_id, Invoice.id == Refund.invoice_id))
        .where(Refund.id == refund_id)
        .order_by(made_here_first(Refund), Refund.business_id)
        .limit(1)
    ).first()
    if row is None:
        raise NotFound()
    return row[0], row[1], row[2]


def invoice_of_payment(db: ScopedSession, payment_id: str) -> str:
    """The id of a payment's invoice."""
    found = db.scalar(
        select(Payment.invoice_id).where(Payment.id == payment_id).order_by(made_here_first(Payment), Payment.business_id).limit(1)
    )
    if not found:
        raise NotFound()
    return str(found)


@dataclass(frozen=True)
class Purchase:
    payment: Payment
    invoice: Invoice | None
    products: list[Product]


def returned_refunds(db: ScopedSession, payment: Payment) -> list[Refund]:
    """Return the refunds of a payment that failed after they had succeeded, oldest first."""
    mine = (Refund.business_id == payment.business_id, Refund.payment_id == payment.id, Refund.failed_at.is_not(None))
    return list(db.scalars(select(Refund).where(*mine).order_by(Refund.failed_at)))


def purchase(db: ScopedSession, payment_id: str) -> Purchase:
    """A one-time purchase, in two statements."""
    row = db.execute(
        select(Payment, Invoice)
        .outerjoin(Invoice, and_(Invoice.business_id == Payment.business_id, Invoice.id == Payment.invoice_id))
        .where(Payment.id == payment_id, Payment.subscription_id.is_(None))
        .order_by(made_here_first(Payment), Payment.business_id)
        .limit(1)
    ).first()
    if row is None:
        raise NotFound()
    payment: Payment = row[0]
    ids = [item.get("product_id") for item in payment.cart]
    products = db.scalars(select(Product).where(Product.business_id == payment.business_id, Product.id.in_(ids))) if ids else ()
    order = {product_id: n for n, product_id in enumerate(ids)}
    return Purchase(payment, row[1], sorted(products, key=lambda product: order[product.id]))
