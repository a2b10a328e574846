"""Switch the reminders that no law demands on or off, for chosen customer rows of a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import select

from billing.model.events import emit_customer_event
from billing.model.optional_notices import OPTIONAL
from billing.model.parties import Customer
from core.db import ScopedSession
from core.errors import NotFound


def set_notices(db: ScopedSession, on: Mapping[str, Iterable[str]]) -> list[Customer]:
    """Switch on exactly these reminders: customer_id → reminders. Emits notices.changed for each changed row.

    Raises NotFound if an id is outside the scope; then nothing changes.
    """
    rows = list(db.scalars(select(Customer).where(Customer.customer_id.in_(on)).with_for_update()))
    if len(rows) != len(on):
        raise NotFound()
    changed = []
    for customer in rows:
        wanted = set(on[customer.customer_id])
        off = [name for name in OPTIONAL if name not in wanted]
        if off != [name for name in OPTIONAL if name in (customer.notices_off or ())]:
            customer.notices_off = off or None
            emit_customer_event(db, customer, "notices.changed", fields=off)
            changed.append(customer)
    return changed


def switch_off(db: ScopedSession, customer_id: str, reminder: str) -> Customer:
    """Switch one reminder off. Idempotent. Raises NotFound."""
    customer = db.scalar(select(Customer).where(Customer.customer_id == customer_id))
    if customer is None:
        raise NotFound()
    off = customer.notices_off or []
    set_notices(db, {customer_id: [name for name in OPTIONAL if name not in off and name != reminder]})
    return customer


def notices_off_of(db: ScopedSession) -> dict[str, list[str]]:
    """Map the customer rows of the scope to the reminders that are switched off."""
    return {row.customer_id: list(row.notices_off or ()) for row in db.execute(select(Customer.customer_id, Customer.notices_off))}
