"""Disputes: a customer's bank takes a payment back, or asks about it. A returned direct debit is a dispute that is lost at once."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ColumnElement, Index, UniqueConstraint, and_, func, or_, select
from sqlalchemy.orm import Mapped, mapped_column

from billing.model.lifecycle import DISPUTE_OPEN, DISPUTE_TAKEN
from billing.model.payments import Payment
from core.db import ScopedSession
from core.models import Base, CustomerOwned, of_customer, within_customer


class Dispute(Base, CustomerOwned):
    """`status`, `stage`: values of the contract. `taken_minor`: the part that totals count as returned, in the month of `taken_at`.

    The processor decides a dispute; `charging/disputes.py` records it.
    """

    __tablename__ = "disputes"
    __table_args__ = (
        of_customer(),
        within_customer("payment_id", "payments"),
        within_customer("invoice_id", "invoices"),
        within_customer("subscription_id", "subscriptions"),
        UniqueConstraint("business_id", "payment_account_id", "reference"),
        CheckConstraint("amount_minor > 0", name="amount"),
        CheckConstraint("taken_minor >= 0 AND taken_minor <= amount_minor", name="taken"),
        Index("ix_disputes_created", "business_id", "created_at", "id"),
        Index("ix_disputes_payment", "business_id", "payment_id"),
        Index("ix_disputes_customer", "business_id", "customer_id", "created_at"),
    )

    payment_id: Mapped[str]
    invoice_id: Mapped[str | None]
    subscription_id: Mapped[str | None]
    brand_id: Mapped[str]
    payment_account_id: Mapped[str]
    reference: Mapped[str]  # the processor's id
    amount_minor: Mapped[int]
    currency: Mapped[str]
    status: Mapped[str]
    stage: Mapped[str]
    reason: Mapped[str | None]  # a code, see `portal/phrases.py`
    is_debit_return: Mapped[bool] = mapped_column(default=False)  # the bank returned a direct debit; nothing can be answered
    answer_by: Mapped[datetime | None]
    url: Mapped[str | None]  # where the business answers, at the processor
    withdrawn: Mapped[list[Any] | None]  # unused credit that it removed: [{quote_id, minor}]
    taken_minor: Mapped[int] = mapped_column(default=0)
    taken_at: Mapped[datetime | None]
    has_paused: Mapped[bool] = mapped_column(default=False)  # its subscription was paused for it, and resumes if the business wins
    closed_at: Mapped[datetime | None]
    created_at: Mapped[datetime]

    @property
    def holds_money(self) -> bool:
        """The processor withholds the amount: the dispute is open or lost. An inquiry before a dispute withholds nothing."""
        return self.status in DISPUTE_TAKEN or (self.status in DISPUTE_OPEN and self.stage != "pre_dispute")

    @property
    def is_open(self) -> bool:
        return self.status in DISPUTE_OPEN


def taken_by_disputes(db: ScopedSession, payment: Payment) -> int:
    """Return the minor units of a payment that lost disputes took."""
    if not payment.disputed_minor:
        return 0
    return int(db.scalar(select(func.sum(Dispute.taken_minor)).where(Dispute.payment_id == payment.id)) or 0)


def withholds() -> ColumnElement[bool]:
    """`Dispute.holds_money` in SQL."""
    return or_(Dispute.status.in_(DISPUTE_TAKEN), and_(Dispute.status.in_(DISPUTE_OPEN), Dispute.stage != "pre_dispute"))


def disputed_of_invoice(db: ScopedSession, invoice_id: str | None, since: datetime | None = None) -> int:
    """Return the minor units of an invoice that disputes withhold, of those that were opened `since`."""
    query = select(func.sum(Dispute.amount_minor)).where(Dispute.invoice_id == invoice_id, withholds())
    return int(db.scalar(query.where(Dispute.created_at >= since) if since else query) or 0) if invoice_id else 0


def sum_held(db: ScopedSession, payment: Payment) -> int:
    """Return the minor units of a payment that open and lost disputes withhold. At most the payment's amount."""
    found = db.scalars(select(Dispute).where(Dispute.payment_id == payment.id))
    return min(sum(row.amount_minor for row in found if row.holds_money), payment.amount_minor)
