"""The accounts (customer rows with their business's face) of a scope, and who may be shown at the unified door."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, select

from billing.parties import Business, Customer
from core.db import ScopedSession


@dataclass(frozen=True, slots=True)
class Account:
    """One customer row, and of its business what its customers may see."""

    business_id: str
    customer_id: str
    name: str
    email: str
    phone: str | None
    locale: str | None
    first_paid_at: datetime | None
    accepted_at: datetime | None
    declined_at: datetime | None
    created_at: datetime
    title: str
    legal_name: str
    address: dict[str, Any]
    support_email: str
    currency: str
    zone: str
    brand: dict[str, Any]
    settings: dict[str, Any]
    archived_at: datetime | None

    @property
    def is_planted(self) -> bool:
        """The person never paid this business and never said "show it" (safety 3.2)."""
        return self.first_paid_at is None and self.accepted_at is None


def accounts(db: ScopedSession) -> list[Account]:
    """Every account of the scope, by the business's name. One statement."""
    query = select(
        Customer.business_id, Customer.customer_id, Customer.name, Customer.email, Customer.phone, Customer.locale,
        Customer.first_paid_at, Customer.accepted_at, Customer.declined_at, Customer.created_at,
        Business.name, Business.legal_name, Business.address, Business.support_email, Business.currency, Business.zone,
        Business.brand, Business.settings, Business.archived_at,
    ).join(Business, and_(Business.business_id == Customer.business_id)).order_by(Business.name, Customer.customer_id)
    return [Account(*row) for row in db.execute(query)]
