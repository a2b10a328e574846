"""Applies a paid or failed payment to what it was for: a one-time purchase, a new subscription, a renewal or a plan change."""

from __future__ import annotations

from sqlalchemy import select

from billing.charging import activation, plan_change_effects
from billing.charging.method_assignment import assign_requested
from billing.model.authors import actor_of
from billing.model.catalogue import Product
from billing.model.invoices import Invoice
from billing.model.parties import Business, Customer
from billing.model.payments import Payment, PaymentMethod
from billing.model.subscriptions import Subscription
from core.db import ScopedSession


def apply_payment(
    db: ScopedSession,
    business: Business,
    customer: Customer,
    payment: Payment,
    *,
    subscription: Subscription | None,
    invoice: Invoice | None,
    method: PaymentMethod | None,
) -> None:
    """Apply a successful payment: issue keys, activate or renew the subscription, or complete its plan change."""
    assign_requested(db, payment, method)
    if subscription is None:
        products = [item["product_id"] for item in payment.cart if item.get("product_id")]
        for product in db.scalars(select(Product).where(Product.id.in_(products))):
            count = sum(item["quantity"] for item in payment.cart if item.get("product_id") == product.id)
            activation.issue_keys(db, customer, product, count, payment=payment)
        return
    if method is not None and (subscription.payment_method_id is None or payment.charge_type == "new"):
        subscription.payment_method_id = method.id
    if subscription.status == "pending":
        activation.activate(db, business, customer, subscription)
    elif invoice is not None and invoice.kind == "plan_change":
        plan_change_effects.record_paid(db, customer, subscription, invoice, actor_of(payment))
    elif payment.charge_type == "renewal":
        activation.renew(db, subscription, invoice)


def apply_failed_payment(db: ScopedSession, payment: Payment, subscription: Subscription | None) -> None:
    """Apply a payment that was declined or cancelled to its subscription."""
    if subscription is None:
        return
    if subscription.status == "pending":
        activation.fail(db, subscription)
    elif payment.charge_type == "plan_change":
        plan_change_effects.record_unpaid(db, payment, subscription)
    elif payment.charge_type == "renewal" and subscription.status in ("active", "past_due"):
        activation.mark_unpaid(db, subscription)
