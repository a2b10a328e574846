"""Pausing, resuming and cancelling a subscription, and correcting invoices."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from billing.documents.store import DocumentStore
from billing.model.invoices import Invoice
from billing.model.parties import Business
from billing.model.payments import Refund
from billing.model.quotes import scheduled_change
from billing.renewals import renew
from billing.subscriptions.billing_details import correct_invoice, edit_billing
from billing.subscriptions.end_now import cancel_now
from billing.subscriptions.pause import pause, resume
from core.errors import Conflict, Forbidden, Invalid
from tests.cast import Cast
from tests.stories.ada_subscription import Ada, wait

ADDRESS = {"name": "Marlow Ltd", "street": "1 New Road", "city": "Leeds", "state": None, "zipcode": "LS1 1AA", "country": "GB"}


@pytest.fixture
def ada(cast: Cast) -> Ada:
    return Ada(cast)


def test_a_pause_stops_the_clock(ada: Ada) -> None:
    before = ada.subscription
    wait(days=10)
    ada.do(pause, ada.buyer.subscription_id)
    with pytest.raises(Conflict, match="SUBSCRIPTION_ALREADY_PAUSED"):
        ada.do(pause, ada.buyer.subscription_id)
    wait(days=40)
    renew.run_due(ada.processor)
    assert ada.subscription.status == "paused" and not ada.payments("renewal")
    ada.do(resume, ada.buyer.subscription_id)
    after = ada.subscription
    slack = timedelta(seconds=30)
    assert timedelta(days=40) <= after.next_billing_at - before.next_billing_at < timedelta(days=40) + slack
    assert timedelta(days=40) <= after.expires_at - before.expires_at < timedelta(days=40) + slack
    with pytest.raises(Conflict, match="SUBSCRIPTION_NOT_PAUSED"):
        ada.do(resume, ada.buyer.subscription_id)
    shown = ada.quote(ada.max)  # what is left of the period is what was left when it stopped
    assert 1900 < shown.unused_minor < 2100
    wait(days=22)
    renew.run_due(ada.processor)
    now = ada.subscription
    assert len(ada.payments("renewal")) == 1 and now.next_billing_at > after.next_billing_at + timedelta(days=27)


def test_pausing_needs_permission_and_a_card(ada: Ada) -> None:
    ada.forget_cards()
    with pytest.raises(Conflict, match="SUBSCRIPTION_PAUSE_REQUIRES_PAYMENT_METHOD"):
        ada.do(pause, ada.buyer.subscription_id)
    with ada.services.database.open(ada.business, write=True) as db:
        db.scalar(select(Business)).settings = {}
    with pytest.raises(Forbidden, match="SUBSCRIPTION_CUSTOMER_PAUSE_DISABLED"):
        ada.do(pause, ada.buyer.subscription_id)


def test_cancelling_now_ends_the_subscription(ada: Ada) -> None:
    ended = cancel_now(ada.processor, ada.scope, ada.buyer.subscription_id, "too_expensive", "Sorry")
    assert ended.status == "cancelled" and ended.cancelled_by == {"type": "customer"}
    assert cancel_now(ada.processor, ada.scope, ada.buyer.subscription_id).cancelled_at == ended.cancelled_at
    wait(days=40)
    renew.run_due(ada.processor)
    assert not ada.payments("renewal") and ada.events().count("subscription.cancelled") == 1


def test_a_payment_after_the_end_is_refunded(ada: Ada) -> None:
    ada.pay_with("4000000000006975")  # succeeds, but the answer is lost
    shown = ada.quote(ada.max)
    assert ada.confirm(shown.id).status == "processing"
    cancel_now(ada.processor, ada.scope, ada.buyer.subscription_id)
    ada.processor.reconcile()
    [payment] = ada.payments("plan_change")
    with ada.services.database.open(ada.business) as db:
        [back] = db.scalars(select(Refund).where(Refund.payment_id == payment.id)).all()
    assert (payment.status, back.status, back.amount_minor) == ("succeeded", "succeeded", shown.due_minor)
    assert ada.subscription.status == "cancelled" and ada.subscription.product_id == ada.team


def test_cancelling_now_cancels_an_open_renewal(ada: Ada) -> None:
    ada.pay_with("4000000000006975")
    wait(days=32)
    renew.run_due(ada.processor)
    cancel_now(ada.processor, ada.scope, ada.buyer.subscription_id)
    ada.processor.reconcile()
    [payment] = ada.payments("renewal")
    assert ada.invoice(payment.invoice_id).status == "void"
    with ada.services.database.open(ada.business) as db:
        assert [refund.status for refund in db.scalars(select(Refund).where(Refund.payment_id == payment.id))] == ["succeeded"]


def test_cancelling_now_drops_a_scheduled_change(ada: Ada) -> None:
    ada.confirm(ada.quote(ada.max, ada.business, effective_at="next_billing_date").id, ada.business)
    cancel_now(ada.processor, ada.scope, ada.buyer.subscription_id)
    with ada.services.database.open(ada.business) as db:
        assert scheduled_change(db, ada.subscription) is None


def test_billing_details_are_changed(ada: Ada) -> None:
    with pytest.raises(Invalid) as wrong:
        ada.do(edit_billing, ada.buyer.subscription_id, **{**ADDRESS, "country": "Narnia"}, business_name="Marlow Ltd")
    assert set(wrong.value.fields) == {"country", "tax_id"}
    with pytest.raises(Invalid) as wrong:
        ada.do(edit_billing, ada.buyer.subscription_id, **ADDRESS, tax_id="GB123")
    assert (wrong.value.code, set(wrong.value.fields)) == ("INVALID_TAX_ID", {"tax_id"})
    ada.do(edit_billing, ada.buyer.subscription_id, **ADDRESS, business_name="Marlow Ltd", tax_id="GB 980 7806 84")
    assert ada.subscription.billing["street"] == "1 New Road" and ada.subscription.tax_id == "GB980780684"
    wait(days=32)
    renew.run_due(ada.processor)
    with ada.services.database.open(ada.business) as db:
        buyer = db.scalar(select(Invoice.snapshot).where(Invoice.id == ada.payments("renewal")[0].invoice_id))["buyer"]
    assert (buyer["name"], buyer["business_name"], buyer["tax_id"]) == ("Marlow Ltd", "Marlow Ltd", "GB980780684")


def test_a_corrected_invoice_does_not_replace_the_original(ada: Ada) -> None:
    with ada.services.database.open(ada.business) as db:
        old = db.scalar(select(Invoice).where(Invoice.subscription_id == ada.buyer.subscription_id))
        snapshot = db.scalar(select(Invoice.snapshot).where(Invoice.id == old.id))
    first = ada.do(correct_invoice, old.id, ADDRESS)
    assert ada.do(correct_invoice, old.id, ADDRESS).id == first.id
    second = ada.do(correct_invoice, old.id, {**ADDRESS, "name": "Marlow and Daughters"})
    assert (first.number, second.number, second.version) == (f"{old.number}-C1", f"{old.number}-C2", 2)
    with pytest.raises(Invalid):
        ada.do(correct_invoice, old.id, {**ADDRESS, "country": "DE"})
    with ada.services.database.open(ada.scope) as db:
        assert db.scalar(select(Invoice.snapshot).where(Invoice.id == old.id)) == snapshot
        pdf, number = DocumentStore(ada.services.database, ada.services.settings).correction_pdf(db, first.id)
    assert pdf.startswith(b"%PDF") and number == first.number
