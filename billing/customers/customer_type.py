"""Set whether a customer buys as a consumer or as a business. It counts for later purchases only."""

from __future__ import annotations

from sqlalchemy import select

from billing.model.customer_types import TYPES, CustomerType
from billing.model.events import emit_customer_event
from billing.model.parties import Customer
from core.db import ScopedSession
from core.errors import N_, Conflict, Invalid


def set_by_business(customer: Customer, customer_type: CustomerType | None) -> None:
    """Store what the business says; None: nothing. Raises Conflict if the customer said otherwise about themselves."""
    if customer.customer_type_by == "customer":
        raise Conflict("CUSTOMER_TYPE_CHOSEN", N_("The customer chose this themselves. Only they can change it."))
    customer.customer_type, customer.customer_type_by = customer_type, "business" if customer_type else None


def check_type(customer_type: str | None) -> None:
    """Raise Invalid (field customer_type) for what is neither empty nor a type."""
    if customer_type and customer_type not in TYPES:
        raise Invalid(fields={"customer_type": N_("Choose consumer or business.")})


def say_type(customer: Customer, customer_type: str) -> bool:
    """Store what customers say about themselves, without an event. Returns whether anything changed."""
    if (customer.customer_type, customer.customer_type_by) == (customer_type, "customer"):
        return False
    customer.customer_type, customer.customer_type_by = customer_type, "customer"
    return True


def set_by_customer(db: ScopedSession, customer_id: str, customer_type: str) -> None:
    """Store what customers say about themselves, with its event. Raises Invalid (field customer_type)."""
    check_type(customer_type)
    customer = db.scalars(select(Customer).where(Customer.customer_id == customer_id)).one()
    if customer_type and say_type(customer, customer_type):
        emit_customer_event(db, customer, "profile.edited", fields=["customer_type"])
