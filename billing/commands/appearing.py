"""A customer row somebody made for a person who never paid there: the person says "show it" or "not mine" (safety 3.2)."""

from __future__ import annotations

from sqlalchemy import select

from billing import knowing
from billing.parties import Customer
from core.db import ScopedSession
from core.errors import NotFound
from core.outbox import emit


def accept(db: ScopedSession, customer_id: str) -> Customer:
    """From now on it is shown like any other. Saying it twice changes nothing more."""
    customer = _load(db, customer_id)
    if customer.accepted_at is None or customer.is_declined or not customer.is_known:
        knowing.accepted(customer)
        _note(db, customer, "customer.accepted")
    return customer


def decline(db: ScopedSession, customer_id: str) -> Customer:
    """It is not shown again. The row stays the business's; nothing is deleted."""
    customer = _load(db, customer_id)
    if not customer.is_declined:
        knowing.declined(customer)
        _note(db, customer, "customer.declined")
    return customer


def _load(db: ScopedSession, customer_id: str) -> Customer:
    found = db.scalar(select(Customer).where(Customer.customer_id == customer_id))
    if found is None:
        raise NotFound()
    return found


def _note(db: ScopedSession, customer: Customer, type: str) -> None:
    emit(db, type, business_id=customer.business_id, customer_id=customer.customer_id, noun=customer.customer_id)
