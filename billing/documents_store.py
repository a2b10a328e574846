"""The PDFs that were handed out: rendered once from the issued snapshot, kept with their hash, the same bytes ever after.

`id` of a kept document is the noun's id and a version. An invoice's paper says whether it is paid, so the paper made
while it was open and the paper made after are two versions of two names, each of them fixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import structlog
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import undefer

from billing.corrections import Correction
from billing.documents import render_invoice, render_refund, sha256_of
from billing.documents.press import Unprintable
from billing.elsewhere import Elsewhere
from billing.invoices import Document, Invoice
from billing.payments import Payment, Refund
from billing.provenance import made_here_first
from core import clock
from core.db import Database, ScopedSession
from core.errors import Conflict, NotFound
from core.scope import system
from core.settings import Settings

log = structlog.get_logger()
_VERSIONS = {"open": 1, "paid": 2, "void": 3}


class DocumentStore:
    def __init__(self, database: Database, settings: Settings) -> None:
        self.database, self.settings = database, settings
        self.systems: Mapping[str, Elsewhere] = {}  # who holds papers that we did not issue; handed in by wsgi.py

    def invoice_pdf(self, db: ScopedSession, invoice_id: str) -> tuple[bytes, str]:
        """(PDF, number). `db` decides whose it is: NotFound for an invoice outside its scope. Raises Unprintable."""
        row = db.execute(select(Invoice, Invoice.snapshot).where(Invoice.id == invoice_id)
                         .order_by(made_here_first(Invoice), Invoice.business_id).limit(1)).first()
        if row is None:
            raise NotFound()
        invoice: Invoice = row[0]
        version = _VERSIONS[invoice.status]
        kept = self._kept(db, invoice.business_id, invoice.id, version)
        if kept is None and invoice.account_id is not None and (there := self.systems.get(row[1].get("held_by", ""))):
            kept = self._fetch(db, there, "payments", row[1]["payment_id"], invoice, version)
        if kept is None:
            paid: dict[str, Any] = {"state": invoice.status, "at": None, "method": None}
            if invoice.status == "paid":
                paid = {**paid, "at": invoice.paid_at.isoformat() if invoice.paid_at else None, "method": self._method(db, invoice)}
            kept = self._keep(invoice.business_id, invoice.customer_id, invoice.id, version, render_invoice({**row[1], "paid": paid}))
        return kept, invoice.number

    def correction_pdf(self, db: ScopedSession, correction_id: str) -> tuple[bytes, str]:
        """(PDF, number) of a corrected invoice. NotFound, Unprintable."""
        row = db.scalar(select(Correction).options(undefer(Correction.snapshot)).where(Correction.id == correction_id))
        if row is None:
            raise NotFound()
        kept = self._kept(db, row.business_id, row.id, 1)
        if kept is None:
            kept = self._keep(row.business_id, row.customer_id, row.id, 1, render_invoice(row.snapshot))
        return kept, row.number

    def refund_pdf(self, db: ScopedSession, refund_id: str) -> tuple[bytes, str]:
        """(PDF, number) of a refund that went through; Conflict while it has no document yet."""
        refund = db.scalar(select(Refund).where(Refund.id == refund_id).order_by(made_here_first(Refund), Refund.business_id).limit(1))
        if refund is None:
            raise NotFound()
        if not refund.snapshot or not refund.number:
            raise Conflict("REFUND_NOT_SETTLED", "The document is made once the money has gone back.")
        kept = self._kept(db, refund.business_id, refund.id, 1)
        if kept is None and refund.account_id is not None and (there := self.systems.get(refund.snapshot.get("held_by", ""))):
            kept = self._fetch(db, there, "refunds", refund.id, refund, 1)
        if kept is None:
            kept = self._keep(refund.business_id, refund.customer_id, refund.id, 1, render_refund(refund.snapshot))
        return kept, refund.number

    def _fetch(
        self, db: ScopedSession, there: Elsewhere, noun: Literal["payments", "refunds"], id: str, whose: Invoice | Refund, version: int
    ) -> bytes:
        """The document of the system that issued it, once; asked for outside of the reader's transaction. Raises Unavailable."""
        db.close()
        business_id, customer_id, noun_id = whose.business_id, whose.customer_id, whose.id
        return there.paper(business_id, noun, id, lambda pdf: self._keep(business_id, customer_id, noun_id, version, pdf))

    def _kept(self, db: ScopedSession, business_id: str, noun_id: str, version: int) -> bytes | None:
        """The bytes as they were kept. Raises Unprintable where they are not what their hash says: a document does not change."""
        found = db.execute(select(Document.pdf, Document.sha256).where(
            Document.business_id == business_id, Document.id == f"{noun_id}:{version}", Document.noun_id == noun_id,
            Document.version == version)).first()
        if found is None:
            return None
        pdf, digest = found
        if sha256_of(pdf) != digest:
            log.error("a kept document was changed", noun_id=noun_id, version=version)
            raise Unprintable("The kept document is not what it was when it was made.")
        return bytes(pdf)

    def _method(self, db: ScopedSession, invoice: Invoice) -> str | None:
        method = db.scalar(select(Payment.method).where(
            Payment.business_id == invoice.business_id, Payment.customer_id == invoice.customer_id,
            Payment.invoice_id == invoice.id, Payment.status == "succeeded"))
        if not method or not method.get("last4"):
            return None
        return f"{str(method.get('brand') or 'Card').title()} {method['last4']}"

    def _keep(self, business_id: str, customer_id: str, noun_id: str, version: int, pdf: bytes) -> bytes:
        """Keep it under the business's own scope, for a customer's page only reads. Two at once: the first one's bytes count."""
        scope = system(business_id)
        try:
            with self.database.open(scope, write=True) as db:
                db.add(Document(business_id=business_id, customer_id=customer_id, id=f"{noun_id}:{version}", noun_id=noun_id,
                                version=version, sha256=sha256_of(pdf), pdf=pdf, created_at=clock.now()))
        except IntegrityError:
            with self.database.open(scope) as db:
                return self._kept(db, business_id, noun_id, version) or pdf
        return pdf
