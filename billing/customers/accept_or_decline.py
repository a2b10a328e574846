"""Accept or decline a customer row that a business created for a person who never paid there (safety 3.2)."""

from __future__ import annotations

from sqlalchemy import select

from billing.charging import recognition
from billing.model.events import emit_customer_event
from billing.model.parties import Customer
from core.db import ScopedSession
from core.errors import NotFound


def accept(db: ScopedSession, customer_id: str) -> Customer:
    """Show the row like any other from now on. Idempotent. Raises NotFound."""
    customer = _load(db, customer_id)
    if customer.accepted_at is None or customer.is_declined or not customer.is_recognized:
        recognition.record_acceptance(customer)
        emit_customer_event(db, customer, "customer.accepted")
    return customer


def decline(db: ScopedSession, customer_id: str) -> Customer:
    """Hide the row from the person. The business keeps it; nothing is deleted. Idempotent. Raises NotFound."""
    customer = _load(db, customer_id)
    if not customer.is_declined:
        recognition.record_decline(customer)
        emit_customer_event(db, customer, "customer.declined")
    return customer


def _load(db: ScopedSession, customer_id: str) -> Customer:
    found = db.scalar(select(Customer).where(Customer.customer_id == customer_id))
    if found is None:
        raise NotFound()
    return found
