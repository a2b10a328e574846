"""Taxes that a hosted calculator (Stripe Tax) calculated for sales, and what it has to be told about paid and refunded sales."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base, BusinessOwned, CustomerOwned, of_customer

SALE, REVERSAL, RESTORATION = "sale", "reversal", "restoration"
"""Kinds of reports. RESTORATION: a refund failed after it had succeeded, so its reversal is reversed."""


class TaxCalculation(Base, CustomerOwned):
    """The tax of one sale, stored with its payment or invoice. `operation`: of the invoice, which names the work that is billed.

    `reference`: the calculator's id. `lines`: [{reference, amount_minor, inclusive, tax_minor, code, bps, rate, reason}], one for each
    tax category and kind of price.
    """

    __tablename__ = "tax_calculations"
    __table_args__ = (of_customer(), UniqueConstraint("business_id", "operation"))

    operation: Mapped[str]
    payment_account_id: Mapped[str]
    reference: Mapped[str]
    currency: Mapped[str]
    lines: Mapped[list[Any]]
    created_at: Mapped[datetime]  # wall clock


class TaxReport(Base, BusinessOwned):
    """Something that the calculator has to record: a paid sale, a refund, or a refund that failed later. `id`: kind:invoice or refund.

    The rows are the queue of the worker. `reference`: the id of the transaction at the calculator, None until it is recorded.
    """

    __tablename__ = "tax_reports"
    __table_args__ = (Index("ix_tax_reports_due", "business_id", "reported_at", "created_at"),)

    kind: Mapped[str]
    calculation_id: Mapped[str]
    noun_id: Mapped[str]  # of the invoice or the refund
    reference: Mapped[str | None]
    amount_minor: Mapped[int] = mapped_column(default=0)  # of a reversal: as it was recorded, tax included
    tax_minor: Mapped[int] = mapped_column(default=0)
    line_references: Mapped[list[Any]] = mapped_column(default=list)  # of a sale: the ids of its lines at the calculator
    created_at: Mapped[datetime]  # wall clock
    reported_at: Mapped[datetime | None]  # wall clock
