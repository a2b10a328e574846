"""Statements: what somebody declared about a contract: a cancellation without signing in, or a withdrawal."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base, BusinessOwned, dumps, within_customer

STATES = ("received", "waiting", "planned", "effective", "dismissed")


class Statement(Base, BusinessOwned):
    """A statement as it was declared, and what followed from it. The declared columns are never changed.

    `status`: see lifecycle.STATEMENT. `matched_by`: what proved that the contract is the declarant's: subscription, invoice,
    license_key, payment, signed_in, or staff. `wanted_at`: the contract shall not end before this instant; None: it ends as soon as
    possible. `ends_at`: the instant at which the contract ends, as the receipt says. A withdrawal has a row in `withdrawals` as well.
    """

    __tablename__ = "statements"
    __table_args__ = (
        within_customer("subscription_id", "subscriptions"),
        UniqueConstraint("business_id", "number"),
        Index("ix_statements_received", "business_id", "received_at", "id"),
        Index("ix_statements_status", "business_id", "status", "received_at"),
        Index("ix_statements_planned", "status", "business_id"),
    )

    number: Mapped[str]
    kind: Mapped[str]  # cancel, withdraw
    status: Mapped[str] = mapped_column(default="received")
    language: Mapped[str]
    zone: Mapped[str]
    name: Mapped[str]
    email: Mapped[str]
    email_key: Mapped[str]
    contract: Mapped[str]
    is_for_cause: Mapped[bool] = mapped_column(default=False)
    reason: Mapped[str] = mapped_column(default="")
    wanted_at: Mapped[datetime | None]
    declared: Mapped[str]  # the sentence that the declarant confirmed, in `language`
    sha256: Mapped[str]
    received_at: Mapped[datetime]
    answer_by: Mapped[datetime]
    matched_by: Mapped[str | None]
    customer_id: Mapped[str | None]
    subscription_id: Mapped[str | None]
    ends_at: Mapped[datetime | None]
    answer: Mapped[str | None]  # what staff wrote to the declarant
    decided_at: Mapped[datetime | None]


def digest(declared: dict[str, Any]) -> str:
    """Return the hexadecimal SHA-256 of the declared values as canonical JSON. It is printed on the receipt."""
    return hashlib.sha256(dumps(declared).encode()).hexdigest()
