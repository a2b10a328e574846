"""Stored values are used: document hashes are checked, old notifications are removed, refunds check their invoice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing.charging.refunds import request_refund
from billing.documents.store import DocumentStore
from billing.documents.typst_process import Unprintable
from billing.model import gateway_notifications
from billing.model.gateway_notifications import GatewayNotification
from billing.model.invoices import Document, Invoice
from billing.model.payments import Payment
from core import clock
from core.scope import everything, system
from tests.stories.business_and_buyer import Site


@pytest.fixture
def site(processor_services: Any) -> Site:
    return Site.open(processor_services)


def test_a_changed_stored_document_is_not_served(site: Site) -> None:
    site.buy()
    store, invoice = DocumentStore(site.database, site.services.settings), site.rows(Invoice)[0]
    with site.database.open(system(site.business_id)) as db:
        first, number = store.invoice_pdf(db, invoice.id)
        assert (first[:4], number) == (b"%PDF", invoice.number) and store.invoice_pdf(db, invoice.id)[0] == first
    with site.database.open(everything("somebody changes a kept document"), write=True) as db:
        row = db.scalars(select(Document)).one()
        assert row.version == 2, "the document of a paid invoice"
        row.pdf = row.pdf + b"\n%changed"
    with site.database.open(system(site.business_id)) as db, pytest.raises(Unprintable):
        store.invoice_pdf(db, invoice.id)


def test_gateway_notifications_are_removed_after_ninety_days(site: Site) -> None:
    with site.database.open(everything("notifications of long ago"), write=True) as db:
        for days in (1, 89, 91, 400):
            db.add(GatewayNotification(id=f"n{days}", key="k", kind="payment", received_at=clock.wall() - timedelta(days=days)))
    gateway_notifications.sweep(site.database)
    with site.database.open(everything("what is left")) as db:
        assert set(db.scalars(select(GatewayNotification.id))) == {"n1", "n89"}


def test_only_a_paid_invoice_is_refunded(site: Site) -> None:
    """Money that arrived for an invoice in another state is refunded, but not recorded on the invoice."""
    site.buy()
    for status, of_invoice in (("void", False), ("open", False), ("paid", True)):
        db = site.database.session(everything("an invoice of another state"), write=True)
        try:
            db.scalars(select(Invoice)).one().status = status
            refund = request_refund(db, db.scalars(select(Payment)).one(), 100, None, site.services.settings)
            assert refund.status == "pending" and (refund.invoice_id is not None) is of_invoice, status
        finally:
            db.close()
