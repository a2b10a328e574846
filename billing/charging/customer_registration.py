"""Registers customers at payment accounts, once each, before their first charge there."""

from __future__ import annotations

from sqlalchemy import select

from billing.charging.gateway_operations import GatewayOperations
from billing.charging.ports import CustomerRequest
from billing.model.parties import Customer
from billing.model.payment_accounts import ProcessorCustomer
from billing.model.payments import Payment
from core.db import ScopedSession
from core.errors import NotFound
from core.ids import new_id
from core.scope import system


def register_payer(processor: GatewayOperations, business_id: str, payment_id: str) -> str:
    """Return the id that the payer of a payment has at its account; registers the payer if needed. Opens its own sessions.

    Raises what the gateway raises; nothing was charged then. A payment of nothing that saves no method needs no registration.
    """
    with processor.database.open(system(business_id)) as db:
        payment = db.scalar(select(Payment).where(Payment.id == payment_id))
        if payment is None:
            raise NotFound()
        known = _reference(db, payment)
        customer = db.scalar(select(Customer).where(Customer.customer_id == payment.customer_id))
    if known is not None or customer is None or (not payment.amount_minor and payment.payment_method_id is not None):
        return known or ""
    request = CustomerRequest(
        key=processor.key(business_id, f"customer:{customer.customer_id}:{payment.payment_account_id}", 1),
        business_id=business_id,
        customer_id=customer.customer_id,
        email=customer.email,
        name=customer.name or None,
    )
    reference = processor.gateway_of((business_id, payment.payment_account_id)).register(request)
    with processor.database.open(system(business_id), write=True) as db:
        db.scalar(select(Customer.customer_id).where(Customer.customer_id == payment.customer_id).with_for_update())
        known = _reference(db, payment)  # another process may have registered the same customer
        if known is None:
            db.add(
                ProcessorCustomer(
                    business_id=business_id,
                    id=new_id("pcu"),
                    customer_id=payment.customer_id,
                    payment_account_id=payment.payment_account_id or "",
                    reference=reference,
                )
            )
        return known or reference


def _reference(db: ScopedSession, payment: Payment) -> str | None:
    return db.scalar(
        select(ProcessorCustomer.reference).where(
            ProcessorCustomer.customer_id == payment.customer_id, ProcessorCustomer.payment_account_id == payment.payment_account_id
        )
    )
