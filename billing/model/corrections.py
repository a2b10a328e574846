"""Corrected invoices: separate documents, because an issued invoice never changes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from billing.model.invoices import Invoice
from core.errors import N_, Conflict
from core.models import Base, CustomerOwned, JSONType, of_customer, within_customer


class Correction(Base, CustomerOwned):
    """`snapshot` is the snapshot of the invoice with other buyer details. `snapshot["corrects"]` is the number of the corrected invoice."""

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
    snapshot: Mapped[dict[str, Any]] = mapped_column(JSONType, deferred=True)
    created_at: Mapped[datetime]


ISSUED_EXTERNALLY = N_("Another billing system issued this invoice. Ask the business to correct it.")
VOID = N_("This invoice is void and cannot be corrected.")


def is_correctable(invoice: Invoice) -> bool:
    return why_not_correctable(invoice) is None


def why_not_correctable(invoice: Invoice) -> Conflict | None:
    """Return why no corrected document of the invoice can be issued here; None if it can.

    An invoice that came with a file can be corrected: the business has left the system that issued it.
    """
    if invoice.is_mirrored:
        return Conflict("UNSUPPORTED_ACTION", ISSUED_EXTERNALLY)
    return Conflict("INVOICE_VOID", VOID) if invoice.status == "void" else None
