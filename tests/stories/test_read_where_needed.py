"""What the database keeps is used: hashes of documents are checked, old notifications go, refunds look at their invoice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing import notifications
from billing.documents.press import Unprintable
from billing.documents_store import DocumentStore
from billing.invoices import Document, Invoice
from billing.notifications import GatewayNotification
from billing.payments import Payment
from billing.refunds import request_refund
from core import clock
from core.scope import everything, system
from tests.stories.shop import Shop


@pytest.fixture
def shop(till_house: Any) -> Shop:
    return Shop.open(till_house)


def test_a_kept_document_that_was_changed_is_not_handed_out(shop: Shop) -> None:
    shop.buy()
    store, invoice = DocumentStore(shop.database, shop.house.settings), shop.rows(Invoice)[0]
    with shop.database.open(system(shop.business_id)) as db:
        first, number = store.invoice_pdf(db, invoice.id)
        assert (first[:4], number) == (b"%PDF", invoice.number) and store.invoice_pdf(db, invoice.id)[0] == first
    with shop.database.open(everything("somebody changes a kept document"), write=True) as db:
        row = db.scalars(select(Document)).one()
        assert row.version == 2, "the document of a paid invoice"
        row.pdf = row.pdf + b"\n%changed"
    with shop.database.open(system(shop.business_id)) as db, pytest.raises(Unprintable):
        store.invoice_pdf(db, invoice.id)


def test_notifications_of_processors_are_forgotten_after_ninety_days(shop: Shop) -> None:
    with shop.database.open(everything("notifications of long ago"), write=True) as db:
        for days in (1, 89, 91, 400):
            db.add(GatewayNotification(id=f"n{days}", key="k", kind="payment", received_at=clock.wall() - timedelta(days=days)))
    notifications.sweep(shop.database)
    with shop.database.open(everything("what is left")) as db:
        assert set(db.scalars(select(GatewayNotification.id))) == {"n1", "n89"}


def test_only_a_paid_invoice_is_refunded(shop: Shop) -> None:
    """Money that came for an invoice of another state goes back as well, but no invoice is refunded with it."""
    shop.buy()
    for status, of_invoice in (("void", False), ("open", False), ("paid", True)):
        db = shop.database.session(everything("an invoice of another state"), write=True)
        try:
            db.scalars(select(Invoice)).one().status = status
            refund = request_refund(db, db.scalars(select(Payment)).one(), 100, None, shop.house.settings)
            assert refund.status == "pending" and (refund.invoice_id is not None) is of_invoice, status
        finally:
            db.close()
