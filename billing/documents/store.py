"""Stores the PDFs of invoices, corrections and refunds with their hash. Each is rendered once, from the issued snapshot.

The `id` of a stored document is the id of its invoice, correction or refund, and a version. An invoice's PDF shows whether it is paid.
The PDF made while it was open and the PDF made afterwards are therefore two versions, and neither changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import undefer

from billing.documents import render_invoice, render_refund, sha256_of
from billing.documents.typst_process import Unprintable
from billing.external.port import ExternalBilling, Noun
from billing.model.corrections import Correction
from billing.model.invoices import Document, Invoice
from billing.model.payments import WALLETS, Payment, Refund
from billing.model.provenance import made_here_first
from core import clock
from core.db import Database, ScopedSession
from core.errors import N_, Conflict, NotFound
from core.scope import system
from core.settings import Settings

log = structlog.get_logger()
_VERSIONS = {"open": 1, "paid": 2, "void": 3}


class DocumentStore:
    def __init__(self, database: Database, settings: Settings) -> None:
        self.database, self.settings = database, settings
        self.systems: Mapping[str, ExternalBilling] = {}  # hold the documents that were not issued here; set by wsgi.py

    def invoice_pdf(self, db: ScopedSession, invoice_id: str) -> tuple[bytes, str]:
        """Return (PDF, number). Raises NotFound for an invoice outside the scope of `db`, and Unprintable."""
        row = db.execute(
            select(Invoice, Invoice.snapshot)
            .where(Invoice.id == invoice_id)
            .order_by(made_here_first(Invoice), Invoice.business_id)
            .limit(1)
        ).first()
        if row is None:
            raise NotFound()
        invoice: Invoice = row[0]
        version = _VERSIONS[invoice.status]
        pdf = self._stored(db, invoice.business_id, invoice.id, version)
        if pdf is None and invoice.account_id is not None and (external := self.systems.get(row[1].get("held_by", ""))):
            payment_id = row[1].get("payment_id")
            noun: Noun = "payments" if payment_id else "invoices"
            pdf = self._fetch(db, external, noun, payment_id or invoice.id, invoice, version)
        if pdf is None:
            paid: dict[str, Any] = {"state": invoice.status, "at": None, "method": None}
            if invoice.status == "paid":
                paid = {**paid, "at": invoice.paid_at.isoformat() if invoice.paid_at else None, "method": self._method(db, invoice)}
            pdf = self._save(invoice.business_id, invoice.customer_id, invoice.id, version, render_invoice({**row[1], "paid": paid}))
        return pdf, invoice.number

    def correction_pdf(self, db: ScopedSession, correction_id: str) -> tuple[bytes, str]:
        """Return (PDF, number) of a corrected invoice. Raises NotFound, Unprintable."""
        row = db.scalar(select(Correction).options(undefer(Correction.snapshot)).where(Correction.id == correction_id))
        if row is None:
            raise NotFound()
        pdf = self._stored(db, row.business_id, row.id, 1)
        if pdf is None:
            pdf = self._save(row.business_id, row.customer_id, row.id, 1, render_invoice(row.snapshot))
        return pdf, row.number

    def refund_pdf(self, db: ScopedSession, refund_id: str) -> tuple[bytes, str]:
        """Return (PDF, number) of a refund that succeeded. Raises NotFound, and Conflict while it has no document.

        If it failed afterwards, a second version says so: the number was issued and stays.
        """
        refund = db.scalar(select(Refund).where(Refund.id == refund_id).order_by(made_here_first(Refund), Refund.business_id).limit(1))
        if refund is None:
            raise NotFound()
        if not refund.snapshot or not refund.number:
            raise Conflict("REFUND_NOT_SETTLED", N_("The document is available once the refund has succeeded."))
        if refund.failed_at is not None:
            return self._void_refund(db, refund, refund.failed_at), refund.number
        pdf = self._stored(db, refund.business_id, refund.id, 1)
        if pdf is None and refund.account_id is not None and (external := self.systems.get(refund.snapshot.get("held_by", ""))):
            pdf = self._fetch(db, external, "refunds", refund.id, refund, 1)
        if pdf is None:
            pdf = self._save(refund.business_id, refund.customer_id, refund.id, 1, render_refund(refund.snapshot))
        return pdf, refund.number

    def _void_refund(self, db: ScopedSession, refund: Refund, at: datetime) -> bytes:
        version = _VERSIONS["void"]
        pdf = self._stored(db, refund.business_id, refund.id, version)
        if pdf is not None:
            return pdf
        snapshot = {**(refund.snapshot or {}), "paid": {"state": "void", "at": at.isoformat(), "method": None}}
        return self._save(refund.business_id, refund.customer_id, refund.id, version, render_refund(snapshot))

    def _fetch(
        self, db: ScopedSession, external: ExternalBilling, noun: Noun, id: str, row: Invoice | Refund, version: int
    ) -> bytes | None:
        """Fetch the document from the system that issued it and store it, outside of the reader's transaction. Raises Unavailable.

        None: that system has no such document.
        """
        db.close()
        business_id, customer_id, noun_id = row.business_id, row.customer_id, row.id
        return external.document_pdf(business_id, noun, id, lambda pdf: self._save(business_id, customer_id, noun_id, version, pdf))

    def _stored(self, db: ScopedSession, business_id: str, noun_id: str, version: int) -> bytes | None:
        """Return the stored bytes, or None. Raises Unprintable if they do not match their hash."""
        found = db.execute(
            select(Document.pdf, Document.sha256).where(
                Document.business_id == business_id,
                Document.id == f"{noun_id}:{version}",
                Document.noun_id == noun_id,
                Document.version == version,
            )
        ).first()
        if found is None:
            return None
        pdf, digest = found
        if sha256_of(pdf) != digest:
            log.error("stored document changed", noun_id=noun_id, version=version)
            raise Unprintable("The stored document does not match its hash.")
        return bytes(pdf)

    def _method(self, db: ScopedSession, invoice: Invoice) -> str | None:
        method = db.scalar(
            select(Payment.method).where(
                Payment.business_id == invoice.business_id,
                Payment.customer_id == invoice.customer_id,
                Payment.invoice_id == invoice.id,
                Payment.status == "succeeded",
            )
        )
        if not method or not method.get("last4"):
            return None
        wallet = WALLETS.get(str(method.get("wallet")))
        return f"{str(method.get('brand') or 'Card').title()} {method['last4']}" + (f", {wallet}" if wallet else "")

    def _save(self, business_id: str, customer_id: str, noun_id: str, version: int, pdf: bytes) -> bytes:
        """Store the PDF under the business's own scope, because a customer's page may only read.

        Of two concurrent calls, the bytes of the first count. Returns the stored bytes.
        """
        scope = system(business_id)
        try:
            with self.database.open(scope, write=True) as db:
                db.add(
                    Document(
                        business_id=business_id,
                        customer_id=customer_id,
                        id=f"{noun_id}:{version}",
                        noun_id=noun_id,
                        version=version,
                        sha256=sha256_of(pdf),
                        pdf=pdf,
                        created_at=clock.now(),
                    )
                )
        except IntegrityError:
            with self.database.open(scope) as db:
                return self._stored(db, business_id, noun_id, version) or pdf
        return pdf
