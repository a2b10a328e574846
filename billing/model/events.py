"""Write the event of a change to a row that belongs to a customer."""

from __future__ import annotations

from typing import Any, Protocol

from billing.model.parties import Customer
from billing.model.subscriptions import Subscription
from core.db import ScopedSession
from core.outbox import emit
from core.scope import Actor


class CustomerRow(Protocol):
    @property
    def business_id(self) -> str: ...
    @property
    def customer_id(self) -> str: ...
    @property
    def id(self) -> str: ...


def emit_about(db: ScopedSession, row: CustomerRow, type: str, *, actor: Actor | None = None, **data: Any) -> None:
    """Write an event about `row` to the history of its customer. `actor`: who caused it, if not the actor of the session."""
    emit(db, type, business_id=row.business_id, customer_id=row.customer_id, noun=row.id, actor=actor, data=data)


def emit_customer_event(db: ScopedSession, customer: Customer, type: str, **data: Any) -> None:
    """Write an event about the customer."""
    emit(db, type, business_id=customer.business_id, customer_id=customer.customer_id, noun=customer.customer_id, data=data)


def emit_subscription_event(db: ScopedSession, subscription: Subscription, type: str, *, actor: Actor | None = None, **data: Any) -> None:
    """Write an event about a subscription, with its next billing date after the change."""
    ends = subscription.next_billing_at
    emit_about(db, subscription, type, actor=actor, **data, next_billing_at=ends.isoformat() if ends else None)
