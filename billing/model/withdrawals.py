"""Withdrawals: which contract a statement of withdrawal ended, and what it owes to the customer."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base, CustomerOwned, of_customer, within_customer


class Withdrawal(Base, CustomerOwned):
    """The result of the statement with the same `id`, about a subscription or about lines of a one-time purchase.

    `refund_minor`: what the customer gets back, as it was shown before. `kept_minor`: the part of the price for the time that was used.
    `refund_ids`: the refunds that were requested at once. Staff refund the rest until `refund_by`, the last instant the law allows.
    """

    __tablename__ = "withdrawals"
    __table_args__ = (
        of_customer(),
        within_customer("subscription_id", "subscriptions"),
        within_customer("payment_id", "payments"),
        UniqueConstraint("business_id", "subscription_id"),
        Index("ix_withdrawals_payment", "business_id", "payment_id"),
    )

    number: Mapped[str]  # of the statement
    subscription_id: Mapped[str | None]
    payment_id: Mapped[str | None]
    line_ids: Mapped[list[Any]] = mapped_column(default=list)  # of the purchase's invoice
    currency: Mapped[str]
    refund_minor: Mapped[int]
    kept_minor: Mapped[int] = mapped_column(default=0)
    refund_ids: Mapped[list[Any]] = mapped_column(default=list)
    refund_by: Mapped[datetime]
    declared_at: Mapped[datetime]
