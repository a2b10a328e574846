"""Hosted pages that save a payment method. Each has a payment row of amount 0."""

from __future__ import annotations

from sqlalchemy import func, select

from billing.charging.method_assignment import requested_subscriptions
from billing.charging.open_payments import open_payment
from billing.charging.payment_processor import PaymentProcessor
from billing.model.parties import Business
from billing.model.payments import Payment
from billing.model.subscriptions import Subscription
from billing.renewals.pay_dues import back_to
from core.db import ScopedSession
from core.scope import system


def create_page(
    processor: PaymentProcessor,
    db: ScopedSession,
    customer_id: str,
    currency: str,
    operation: str,
    *,
    subscription_ids: list[str],
    return_url: str | None,
) -> str:
    """Create the row of a page that saves a method, and return its id. It charges nothing and belongs to no subscription."""
    prefix = f"{processor.settings.mode}/{db.scope.business}/{operation}:"
    of_customer = (Payment.customer_id == customer_id, Payment.charge_type == "method")
    for page in db.scalars(select(Payment).where(*of_customer, Payment.is_open)):
        if (
            page.key.startswith(prefix)
            and requested_subscriptions(page) == subscription_ids
            and page.return_url == back_to(return_url, page.id)
        ):
            return page.id  # a double click, or the same page requested again
    number = (db.scalar(select(func.count()).select_from(Payment).where(*of_customer)) or 0) + 1
    payment = open_payment(
        processor,
        db,
        business_id=db.scope.business or "",
        customer_id=customer_id,
        brand_id=db.scope.business or "",
        charge_type="method",
        operation=f"{operation}:{number}",
        amount_minor=0,
        tax_minor=0,
        currency=currency,
        method=None,
        intent={"method_for": subscription_ids},
    )
    payment.return_url = back_to(return_url, payment.id)
    return payment.id


def check_open_pages(
    processor: PaymentProcessor, business_id: str, *, customer_id: str | None = None, subscription_id: str | None = None
) -> None:
    """Check the open pages at the gateway, so that one just completed is not offered again."""
    with processor.database.open(system(business_id)) as db:
        owner = customer_id or db.scalar(select(Subscription.customer_id).where(Subscription.id == subscription_id))
        ids = list(db.scalars(select(Payment.id).where(Payment.customer_id == owner, Payment.charge_type == "method", Payment.is_open)))
    for row_id in ids:
        processor.check(business_id, row_id)


def currency_of(db: ScopedSession, customer_id: str) -> str:
    """The currency the customer last paid in, else the business's. A payment row of amount 0 also needs one."""
    last = select(Payment.currency).where(Payment.customer_id == customer_id).order_by(Payment.created_at.desc()).limit(1)
    return db.scalar(last) or db.scalar(select(Business.currency)) or "EUR"
