"""Block customers: no new purchases, and no plan changes by the customer.

Existing subscriptions continue: renewals are charged, dues can be paid, and the customer can cancel, change the card and
read documents. To end a subscription, the business cancels it.
"""

from __future__ import annotations

from sqlalchemy import select

from billing.model.events import emit_customer_event
from billing.model.parties import Customer
from core import clock
from core.db import ScopedSession
from core.errors import N_, NotFound


def block(db: ScopedSession, customer_id: str) -> Customer:
    """Block a customer. Idempotent. Raises NotFound."""
    customer = _load(db, customer_id)
    if customer.blocked_at is None:
        customer.blocked_at = clock.now()
        emit_customer_event(db, customer, "customer.blocked")
    return customer


def unblock(db: ScopedSession, customer_id: str) -> Customer:
    """Unblock a customer. Idempotent. Raises NotFound."""
    customer = _load(db, customer_id)
    if customer.blocked_at is not None:
        customer.blocked_at = None
        emit_customer_event(db, customer, "customer.unblocked")
    return customer


def _load(db: ScopedSession, customer_id: str) -> Customer:
    customer = db.scalar(select(Customer).where(Customer.customer_id == customer_id).with_for_update())
    if customer is None:
        raise NotFound(sentence=N_("There is no such customer."))
    return customer
