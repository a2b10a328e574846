"""Corrected invoices: a document beside the one that was issued, which stays as it is."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base, CustomerOwned, JSONType, of_customer, within_customer


class Correction(Base, CustomerOwned):
    """`snapshot` is the invoice's with other buyer details; `snapshot["corrects"]` is the number it corrects."""

    __tablename__ = "corrections"
    __table_args__ = (
        of_customer(),
        within_customer("invoice_id", "invoices"),
        UniqueConstraint("business_id", "invoice_id", "version"),
        UniqueConstraint("business_id", "number"),
    )

    invoice_id: Mapped[str]
    version: Mapped[int]
    number: Mapped[str]  # the invoice's, with -C1, -C2 …
    snapshot: Mapped[dict] = mapped_column(JSONType, deferred=True)
    created_at: Mapped[datetime]
