"""Refund requests: what a customer asks of the business about one payment, and the messages of both."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from core import clock
from core.models import Base, CustomerOwned, of_customer, within_customer

STATES = ("open", "refunded", "declined", "withdrawn")


class CustomerRefundRequest(Base, CustomerOwned):
    """At most one request per payment is open. `status`: see lifecycle.REFUND_REQUEST. `answer`: what staff wrote when they declined.

    `answer_by`: until when the business answers. `reminded_at`: when its owners were told that this time is over.
    """

    __tablename__ = "refund_requests"
    __table_args__ = (
        of_customer(),
        within_customer("payment_id", "payments"),
        UniqueConstraint("business_id", "customer_id", "id"),
        Index(
            "uq_refund_requests_open",
            "business_id",
            "payment_id",
            unique=True,
            sqlite_where=text("status = 'open'"),
            postgresql_where=text("status = 'open'"),
        ),
        Index("ix_refund_requests_created", "business_id", "created_at", "id"),
        Index("ix_refund_requests_customer", "business_id", "customer_id", "created_at"),
        Index("ix_refund_requests_overdue", "status", "answer_by"),
    )

    payment_id: Mapped[str]
    status: Mapped[str] = mapped_column(default="open")
    reason: Mapped[str | None]  # one of the list, in English
    answer: Mapped[str | None]
    answer_by: Mapped[datetime]
    reminded_at: Mapped[datetime | None]
    decided_at: Mapped[datetime | None]
    created_at: Mapped[datetime]

    @property
    def is_overdue(self) -> bool:
        return self.status == "open" and self.answer_by <= clock.now()


class RefundRequestMessage(Base, CustomerOwned):
    """`by_customer`: the customer wrote it, not the business."""

    __tablename__ = "refund_request_messages"
    __table_args__ = (
        of_customer(),
        within_customer("request_id", "refund_requests"),
        Index("ix_refund_request_messages_request", "business_id", "request_id", "created_at"),
    )

    request_id: Mapped[str]
    by_customer: Mapped[bool]
    text: Mapped[str]
    created_at: Mapped[datetime]
