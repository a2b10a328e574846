"""Consents: what a customer agreed to before a contract began. Rows are only added; a database trigger refuses changes."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base, CustomerOwned, of_customer, within_customer

ConsentKind = Literal["terms", "immediate_start", "digital_content", "renewal_price"]


class Consent(Base, CustomerOwned):
    """A statement that the customer agreed to, about one subscription or one purchase.

    `kind`: terms; immediate_start: the service begins within the withdrawal period, and what was used is paid for; digital_content:
    delivery begins, and the right to withdraw ends with it; renewal_price. `text`: what was shown, in `language`. `agreed_at`: as whoever
    recorded it says. `recorded_at`: when it was stored here, which nobody can choose. `address`: the IP address it came from.
    """

    __tablename__ = "consents"
    __table_args__ = (
        of_customer(),
        within_customer("subscription_id", "subscriptions", at_commit=True),
        within_customer("payment_id", "payments", at_commit=True),
        Index("ix_consents_subscription", "business_id", "subscription_id"),
        Index("ix_consents_payment", "business_id", "payment_id"),
        Index("ix_consents_recorded", "recorded_at"),
    )

    kind: Mapped[str]
    text: Mapped[str]
    language: Mapped[str]
    agreed_at: Mapped[datetime]
    address: Mapped[str | None]
    subscription_id: Mapped[str | None]
    payment_id: Mapped[str | None]
    recorded_by: Mapped[dict[str, Any]] = mapped_column(default=dict)  # {type, id}, see `authors.py`
    recorded_at: Mapped[datetime]
