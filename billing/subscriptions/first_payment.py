"""Write the payment of a purchase: the first of a subscription, or the only one of a one-time purchase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from billing.charging.open_payments import open_payment
from billing.charging.payment_processor import PaymentProcessor
from billing.model.customer_types import CustomerType
from billing.model.parties import Customer
from billing.model.payment_accounts import is_chargeable
from billing.model.payments import Payment, PaymentMethod
from core.db import ScopedSession
from core.errors import N_, NotFound


@dataclass(frozen=True)
class PaymentTerms:
    """How a purchase is paid. `method_id`: a saved method, or None for a hosted page. `intent`: stored on the payment."""

    method_id: str | None = None
    return_url: str | None = None
    metadata: dict[str, Any] | None = None
    discounts: Sequence[dict[str, Any]] = ()
    intent: dict[str, Any] = field(default_factory=dict)


def create_payment(
    processor: PaymentProcessor,
    db: ScopedSession,
    customer: Customer,
    terms: PaymentTerms,
    *,
    operation: str,
    amount: int,
    currency: str,
    cart: list[dict[str, Any]],
    tax: int,
    billing: dict[str, Any],
    subscription_id: str | None = None,
    payment_id: str | None = None,
    brand_id: str | None = None,
    customer_type: CustomerType | None = None,
) -> Payment:
    """Add an open payment, not yet sent. `amount` and `tax` in minor units. Raises NotFound for an unknown method."""
    method = _load_method(db, customer, terms.method_id) if terms.method_id else None
    return open_payment(
        processor,
        db,
        business_id=customer.business_id,
        customer_id=customer.customer_id,
        brand_id=brand_id or customer.business_id,
        charge_type="new",
        operation=operation,
        amount_minor=amount,
        tax_minor=tax,
        currency=currency,
        method=method,
        payment_id=payment_id,
        subscription_id=subscription_id,
        return_url=terms.return_url,
        cart=cart,
        discounts=terms.discounts,
        billing=billing,
        intent=terms.intent,
        metadata=terms.metadata,
        customer_type=customer_type,
    )


def _load_method(db: ScopedSession, customer: Customer, method_id: str) -> PaymentMethod:
    method = db.scalar(
        select(PaymentMethod).where(PaymentMethod.id == method_id, is_chargeable(), PaymentMethod.customer_id == customer.customer_id)
    )
    if method is None:
        raise NotFound(sentence=N_("There is no such payment method."))
    return method
