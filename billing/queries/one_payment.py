"""One payment and what it is about; and which saved methods were declined last."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, select

from billing.catalogue import Product
from billing.invoices import Invoice
from billing.method_use import wanted_by
from billing.payments import Payment, PaymentMethod
from billing.subscriptions import Subscription
from core.db import ScopedSession
from core.errors import NotFound


@dataclass(frozen=True)
class OnePayment:
    """`pays_for`: names of the subscriptions its method was to pay for from now on."""

    payment: Payment
    subscription: Subscription | None
    name: str | None
    invoice: Invoice | None
    pays_for: list[str]

    @property
    def what(self) -> str:
        return self.name or (self.invoice.description if self.invoice else "")


def one_payment(db: ScopedSession, payment_id: str) -> OnePayment:
    """Two statements at most. NotFound when it is nobody's or somebody else's."""
    row = db.execute(
        select(Payment, Subscription, Product.name, Invoice)
        .outerjoin(Subscription, and_(Subscription.business_id == Payment.business_id, Subscription.id == Payment.subscription_id))
        .outerjoin(Product, and_(Product.business_id == Subscription.business_id, Product.id == Subscription.product_id))
        .outerjoin(Invoice, and_(Invoice.business_id == Payment.business_id, Invoice.id == Payment.invoice_id))
        .where(Payment.id == payment_id)
    ).first()
    if row is None:
        raise NotFound()
    payment, ids = row[0], wanted_by(row[0])
    names: list[str] = []
    if ids and payment.charge_type == "method":
        names = list(db.scalars(
            select(Product.name)
            .join(Subscription, and_(Subscription.business_id == Product.business_id, Subscription.product_id == Product.id))
            .where(Subscription.business_id == payment.business_id, Subscription.customer_id == payment.customer_id,
                   Subscription.id.in_(ids)).order_by(Product.name)
        ))
    return OnePayment(payment, row[1], row[2], row[3], names)


def declined_methods(db: ScopedSession, customer_id: str, limit: int = 50) -> dict[str, datetime]:
    """Saved method → when it was declined, for those whose last settled payment was."""
    found: dict[str, datetime | None] = {}  # None: it worked last time
    query = (
        select(Payment.payment_method_id, Payment.status, Payment.updated_at)
        .where(Payment.customer_id == customer_id, Payment.status.in_(("failed", "succeeded")), Payment.payment_method_id.is_not(None))
        .order_by(Payment.created_at.desc(), Payment.id.desc()).limit(limit)
    )
    for method_id, status, at in db.execute(query):
        found.setdefault(str(method_id), at if status == "failed" else None)
    return {one: at for one, at in found.items() if at is not None}


def saved_method(db: ScopedSession, payment_method_id: str) -> PaymentMethod:
    """NotFound for one that is removed, nobody's or somebody else's."""
    found = db.scalar(select(PaymentMethod).where(PaymentMethod.id == payment_method_id, PaymentMethod.held_by == "us",
                                                  PaymentMethod.removed_at.is_(None)))
    if found is None:
        raise NotFound()
    return found
