"""Read an invoice: its rows and the text of its PDF. Set the tax data of a business."""

from __future__ import annotations

import io
from typing import Any

import pypdf
from sqlalchemy import select

from billing.model.invoices import InvoiceLine
from billing.model.parties import Business
from core.scope import everything
from tests.stories.ada_subscription import Ada


def lines(ada: Ada, invoice_id: str | None) -> list[InvoiceLine]:
    with ada.services.database.open(ada.business) as db:
        return list(db.scalars(select(InvoiceLine).where(InvoiceLine.invoice_id == invoice_id).order_by(InvoiceLine.position)))


def paper(ada: Ada, invoice_id: str) -> str:
    with ada.services.database.open(ada.scope) as db:
        pdf, _ = ada.services.documents.invoice_pdf(db, invoice_id)
    return " ".join(" ".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf)).pages).split())


def business(ada: Ada, **columns: Any) -> None:
    with ada.services.database.open(everything("tax data of a story"), write=True) as db:
        found = db.scalar(select(Business).where(Business.business_id == ada.buyer.business_id))
        for name, value in columns.items():
            setattr(found, name, value)
