"""An invoice as a story looks at it: its rows and the text of its PDF; and the tax data of a business."""

from __future__ import annotations

import io
from typing import Any

import pypdf
from sqlalchemy import select

from billing.invoices import InvoiceLine
from billing.parties import Business
from core.scope import everything
from tests.stories.plans import Ada


def lines(ada: Ada, invoice_id: str | None) -> list[InvoiceLine]:
    with ada.house.database.open(ada.business) as db:
        return list(db.scalars(select(InvoiceLine).where(InvoiceLine.invoice_id == invoice_id).order_by(InvoiceLine.position)))


def paper(ada: Ada, invoice_id: str) -> str:
    with ada.house.database.open(ada.scope) as db:
        pdf, _ = ada.house.documents.invoice_pdf(db, invoice_id)
    return " ".join(" ".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf)).pages).split())


def business(ada: Ada, **columns: Any) -> None:
    with ada.house.database.open(everything("tax data of a story"), write=True) as db:
        found = db.scalar(select(Business).where(Business.business_id == ada.buyer.business_id))
        for name, value in columns.items():
            setattr(found, name, value)
