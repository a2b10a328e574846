"""Read one payment with its subscription and invoice, and the saved methods that were declined last."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, select

from billing.charging.method_assignment import requested_subscriptions
from billing.model.catalogue import Product
from billing.model.invoices import Invoice
from billing.model.payments import Payment, PaymentMethod
from billing.model.subscriptions import Subscription
from core.db import ScopedSession
from core.errors import NotFound


@dataclass(frozen=True)
class PaymentDetails:
    """A payment. `pays_for`: names of the subscriptions that its new method is meant to pay for."""

    payment: Payment
    subscription: Subscription | None
    name: str | None
    invoice: Invoice | None
    pays_for: list[str]

    @property
    def what(self) -> str:
        return self.name or (self.invoice.description if self.invoice else "")


def one_payment(db: ScopedSession, payment_id: str) -> PaymentDetails:
    """One payment, in two statements at most. Raises NotFound for an unknown id and for another customer's."""
    row = db.execute(
        select(Payment, Subscription, Product.name, Invoice)
        .outerjoin(Subscription, and_(Subscription.business_id == Payment.business_id, Subscription.id == Payment.subscription_id))
        .outerjoin(Product, and_(Product.business_id == Subscription.business_id, Product.id == Subscription.product_id))
        .outerjoin(Invoice, and_(Invoice.business_id == Payment.business_id, Invoice.id == Payment.invoice_id))
        .where(Payment.id == payment_id)
    ).first()
    if row is None:
        raise NotFound()
    payment, ids = row[0], requested_subscriptions(row[0])
    names: list[str] = []
    if ids and payment.charge_type == "method":
        names = list(
            db.scalars(
                select(Product.name)
                .join(Subscription, and_(Subscription.business_id == Product.business_id, Subscription.product_id == Product.id))
                .where(
                    Subscription.business_id == payment.business_id,
                    Subscription.customer_id == payment.customer_id,
                    Subscription.id.in_(ids),
                )
                .order_by(Product.name)
            )
        )
    return PaymentDetails(payment, row[1], row[2], row[3], names)


def declined_methods(db: ScopedSession, customer_id: str, limit: int = 50) -> dict[str, datetime]:
    """Map saved methods to the time of their decline, for those whose last settled payment was declined."""
    found: dict[str, datetime | None] = {}  # None: the last payment succeeded
    query = (
        select(Payment.payment_method_id, Payment.status, Payment.updated_at)
        .where(Payment.customer_id == customer_id, Payment.status.in_(("failed", "succeeded")), Payment.payment_method_id.is_not(None))
        .order_by(Payment.created_at.desc(), Payment.id.desc())
        .limit(limit)
    )
    for method_id, status, at in db.execute(query):
        found.setdefault(str(method_id), at if status == "failed" else None)
    return {item: at for item, at in found.items() if at is not None}


def saved_method(db: ScopedSession, payment_method_id: str) -> PaymentMethod:
    """A saved method. Raises NotFound for an unknown, removed or another customer's method."""
    found = db.scalar(
        select(PaymentMethod).where(
            PaymentMethod.id == payment_method_id, PaymentMethod.held_by == "us", PaymentMethod.removed_at.is_(None)
        )
    )
    if found is None:
        raise NotFound()
    return found
