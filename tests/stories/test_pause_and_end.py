"""Ada pauses, goes on, ends it, and puts her invoices right."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from billing import renewals
from billing.commands import plan_change
from billing.commands.billing_details import correct_invoice, edit_billing
from billing.commands.ending import cancel_now
from billing.commands.pausing import pause, resume
from billing.documents_store import DocumentStore
from billing.invoices import Invoice
from billing.parties import Business
from billing.payments import Refund
from core.errors import Conflict, Forbidden, Invalid
from tests.cast import Cast
from tests.stories.plans import Ada, wait

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
    renewals.run_due(ada.till)
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
    renewals.run_due(ada.till)
    now = ada.subscription
    assert len(ada.payments("renewal")) == 1 and now.next_billing_at > after.next_billing_at + timedelta(days=27)


def test_pausing_needs_leave_and_a_card(ada: Ada) -> None:
    ada.forget_cards()
    with pytest.raises(Conflict, match="SUBSCRIPTION_PAUSE_REQUIRES_PAYMENT_METHOD"):
        ada.do(pause, ada.buyer.subscription_id)
    with ada.house.database.open(ada.business, write=True) as db:
        db.scalar(select(Business)).settings = {}
    with pytest.raises(Forbidden, match="SUBSCRIPTION_CUSTOMER_PAUSE_DISABLED"):
        ada.do(pause, ada.buyer.subscription_id)


def test_ending_now_ends_it(ada: Ada) -> None:
    ended = cancel_now(ada.till, ada.scope, ada.buyer.subscription_id, "too_expensive", "Sorry")
    assert ended.status == "cancelled" and ended.cancelled_by == {"type": "customer"}
    assert cancel_now(ada.till, ada.scope, ada.buyer.subscription_id).cancelled_at == ended.cancelled_at
    wait(days=40)
    renewals.run_due(ada.till)
    assert not ada.payments("renewal") and ada.events().count("subscription.cancelled") == 1


def test_money_that_arrives_after_the_end_goes_back(ada: Ada) -> None:
    ada.pay_with("4000000000006975")  # succeeds, but the answer is lost
    shown = ada.quote(ada.max)
    assert ada.confirm(shown.id).status == "processing"
    cancel_now(ada.till, ada.scope, ada.buyer.subscription_id)
    ada.till.reconcile()
    [payment] = ada.payments("plan_change")
    with ada.house.database.open(ada.business) as db:
        [back] = db.scalars(select(Refund).where(Refund.payment_id == payment.id)).all()
    assert (payment.status, back.status, back.amount_minor) == ("succeeded", "succeeded", shown.due_minor)
    assert ada.subscription.status == "cancelled" and ada.subscription.product_id == ada.team


def test_an_open_renewal_is_stopped_too(ada: Ada) -> None:
    ada.pay_with("4000000000006975")
    wait(days=32)
    renewals.run_due(ada.till)
    cancel_now(ada.till, ada.scope, ada.buyer.subscription_id)
    ada.till.reconcile()
    [payment] = ada.payments("renewal")
    assert ada.invoice(payment.invoice_id).status == "void"
    with ada.house.database.open(ada.business) as db:
        assert [one.status for one in db.scalars(select(Refund).where(Refund.payment_id == payment.id))] == ["succeeded"]


def test_a_planned_change_ends_with_it(ada: Ada) -> None:
    ada.confirm(ada.quote(ada.max, ada.business, effective_at="next_billing_date").id, ada.business)
    cancel_now(ada.till, ada.scope, ada.buyer.subscription_id)
    with ada.house.database.open(ada.business) as db:
        assert plan_change.waiting(db, ada.subscription) is None


def test_billing_details(ada: Ada) -> None:
    with pytest.raises(Invalid) as wrong:
        ada.do(edit_billing, ada.buyer.subscription_id, **{**ADDRESS, "country": "Narnia"}, business_name="Marlow Ltd")
    assert set(wrong.value.fields) == {"country", "tax_id"}
    with pytest.raises(Invalid) as wrong:
        ada.do(edit_billing, ada.buyer.subscription_id, **ADDRESS, tax_id="GB123")
    assert (wrong.value.code, set(wrong.value.fields)) == ("INVALID_TAX_ID", {"tax_id"})
    ada.do(edit_billing, ada.buyer.subscription_id, **ADDRESS, business_name="Marlow Ltd", tax_id="GB 980 7806 84")
    assert ada.subscription.billing["street"] == "1 New Road" and ada.subscription.tax_id == "GB980780684"
    wait(days=32)
    renewals.run_due(ada.till)
    with ada.house.database.open(ada.business) as db:
        buyer = db.scalar(select(Invoice.snapshot).where(Invoice.id == ada.payments("renewal")[0].invoice_id))["buyer"]
    assert (buyer["name"], buyer["business_name"], buyer["tax_id"]) == ("Marlow Ltd", "Marlow Ltd", "GB980780684")


def test_a_corrected_invoice_stands_beside_the_old_one(ada: Ada) -> None:
    with ada.house.database.open(ada.business) as db:
        old = db.scalar(select(Invoice).where(Invoice.subscription_id == ada.buyer.subscription_id))
        snapshot = db.scalar(select(Invoice.snapshot).where(Invoice.id == old.id))
    first = ada.do(correct_invoice, old.id, ADDRESS)
    assert ada.do(correct_invoice, old.id, ADDRESS).id == first.id
    second = ada.do(correct_invoice, old.id, {**ADDRESS, "name": "Marlow and Daughters"})
    assert (first.number, second.number, second.version) == (f"{old.number}-C1", f"{old.number}-C2", 2)
    with pytest.raises(Invalid):
        ada.do(correct_invoice, old.id, {**ADDRESS, "country": "DE"})
    with ada.house.database.open(ada.scope) as db:
        assert db.scalar(select(Invoice.snapshot).where(Invoice.id == old.id)) == snapshot
        pdf, number = DocumentStore(ada.house.database, ada.house.settings).correction_pdf(db, first.id)
    assert pdf.startswith(b"%PDF") and number == first.number
