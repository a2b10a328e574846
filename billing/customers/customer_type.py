"""Set whether a customer buys as a consumer or as a business. It counts for later purchases only."""

from __future__ import annotations

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


def set_by_customer(db: ScopedSession, customer: Customer, customer_type: str) -> None:
    """Store what customers say about themselves. Raises Invalid (field customer_type)."""
    if customer_type not in TYPES:
        raise Invalid(fields={"customer_type": N_("Choose consumer or business.")})
    if (customer.customer_type, customer.customer_type_by) == (customer_type, "customer"):
        return
    customer.customer_type, customer.customer_type_by = customer_type, "customer"
    emit_customer_event(db, customer, "customer.updated", fields=["customer_type"])
