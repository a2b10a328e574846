"""Checks of customers' EU VAT IDs with VIES: the answer and its proof. The rows are the queue of the check, which runs in the worker."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base, CustomerOwned, of_customer

WAITING, VALID, INVALID, UNAVAILABLE, NOT_CHECKED = "waiting", "valid", "invalid", "unavailable", "not_checked"
"""UNAVAILABLE: VIES did not answer yet. NOT_CHECKED: this deployment does not use VIES (PORTAL_VIES_URL)."""


class TaxIdCheck(Base, CustomerOwned):
    """The latest check of one VAT ID of a customer. `id` is customer:number, with the prefix of the number (Greece: EL).

    `status` keeps the last answer while VIES is unavailable. `consultation` is the number by which VIES proves that it was asked.
    """

    __tablename__ = "tax_id_checks"
    __table_args__ = (of_customer(), Index("ix_tax_id_checks_due", "business_id", "due_at"))

    number: Mapped[str]
    status: Mapped[str] = mapped_column(default=WAITING)
    checked_at: Mapped[datetime | None]  # when VIES gave the answer of `status`
    consultation: Mapped[str | None]
    name: Mapped[str | None]  # as registered, if VIES tells it
    error: Mapped[str | None]  # why the latest try had no answer
    attempts: Mapped[int] = mapped_column(default=0)  # tries without an answer in a row
    due_at: Mapped[datetime | None]  # when to ask next; None: not again
    created_at: Mapped[datetime]
