"""Blocking a customer: no new purchase, no plan change by the customer, no new commitment.

What already runs goes on: renewals are charged, dues can be paid, and the customer can cancel, change the card and read
documents. A business that wants to end a subscription cancels it.
"""

from __future__ import annotations

from sqlalchemy import select

from billing.parties import Customer
from core import clock
from core.db import ScopedSession
from core.errors import Conflict, NotFound
from core.outbox import emit


def block(db: ScopedSession, customer_id: str) -> Customer:
    """Blocking a blocked customer changes nothing. Raises NotFound."""
    customer = _load(db, customer_id)
    if customer.blocked_at is None:
        customer.blocked_at = clock.now()
        emit(db, "customer.blocked", business_id=customer.business_id, customer_id=customer_id, noun=customer_id)
    return customer


def unblock(db: ScopedSession, customer_id: str) -> Customer:
    """Unblocking a customer who is not blocked changes nothing. Raises NotFound."""
    customer = _load(db, customer_id)
    if customer.blocked_at is not None:
        customer.blocked_at = None
        emit(db, "customer.unblocked", business_id=customer.business_id, customer_id=customer_id, noun=customer_id)
    return customer


def refuse_blocked(db: ScopedSession, customer_id: str) -> None:
    """Call before a customer takes on something new. Raises Conflict CUSTOMER_BLOCKED."""
    if db.scalar(select(Customer.blocked_at).where(Customer.customer_id == customer_id)) is not None:
        raise Conflict("CUSTOMER_BLOCKED", "This business does not sell to this customer at present.")


def _load(db: ScopedSession, customer_id: str) -> Customer:
    customer = db.scalar(select(Customer).where(Customer.customer_id == customer_id).with_for_update())
    if customer is None:
        raise NotFound(sentence="There is no such customer.")
    return customer
