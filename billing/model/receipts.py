"""Receipts: what somebody did with a subscription or got back, when, and what follows. A receipt is never changed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint, event
from sqlalchemy.orm import Mapped

from core.models import Base, CustomerOwned, of_customer, within_customer

KINDS = (
    "cancellation",
    "cancellation_now",
    "cancellation_undone",
    "pause",
    "resume",
    "plan_change",
    "plan_change_scheduled",
    "plan_change_undone",
    "refund",
)
"""What a receipt is about. Undoing an action gives a receipt of its own."""


class Receipt(Base, CustomerOwned):
    """The receipt of one action. Pages, emails and the PDF print `content`, whose SHA-256 is `sha256`.

    `content`: see billing/receipts/write.py. `issued_at`: when the action was received, in billing time.
    """

    __tablename__ = "receipts"
    __table_args__ = (
        of_customer(),
        within_customer("subscription_id", "subscriptions"),
        UniqueConstraint("business_id", "number"),
        Index("ix_receipts_subscription", "business_id", "subscription_id", "issued_at", "id"),
    )

    number: Mapped[str]
    kind: Mapped[str]
    subscription_id: Mapped[str | None]
    content: Mapped[dict[str, Any]]
    sha256: Mapped[str]
    issued_at: Mapped[datetime]


@event.listens_for(Receipt, "before_update")
@event.listens_for(Receipt, "before_delete")
def _refuse(_mapper: Any, _connection: Any, receipt: Receipt) -> None:
    raise RuntimeError(f"receipt {receipt.number} was issued and cannot be changed")
