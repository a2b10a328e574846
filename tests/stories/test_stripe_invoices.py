"""Ada's unpaid invoices at Stripe are shown with their amounts, and paid on Stripe's page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from billing.model.corrections import Correction
from billing.model.invoices import Invoice
from billing.model.payments import Payment
from billing.renewals import dunning, renew, retry
from billing.subscriptions.billing_details import correct_invoice
from core import clock
from core.errors import Conflict
from core.scope import system
from tenants.external import pull as pulling
from tests.cast import Cast
from tests.conftest import on_sqlite
from tests.stories.billed_by_stripe import Story, billed_by_stripe
from tests.stories.stripe_mirror import reader_of
from tests.visitor import Visitor

pytestmark = on_sqlite


@pytest.fixture
def story(cast: Cast, app: Any) -> Iterator[Story]:
    with billed_by_stripe(cast, app) as made:
        yield made


def test_an_open_invoice_is_shown_with_its_amount_and_paid_on_its_page(story: Story) -> None:
    ada = story.ada
    assert story.number(story.open) == (story.open["number"], "open", 1800, 0)
    said = ada.get("/").text
    assert "Cedar Archive is on hold. €18.00 is due." in said and "Pay €18.00" in said
    assert ada.page.soup.find("a", href=f"{story.url}/invoice-payment") is not None
    assert "€18.00 is due" in ada.get(story.url).text and "Pay on the billing page" not in ada.page.text
    assert story.open["number"] in ada.get("/billing-history?state=open").text
    with story.services.database.open(system(story.cedar)) as db:
        here = db.scalars(select(Invoice.id).where(Invoice.number == story.open["number"])).one()
    said = ada.get(f"/invoices/{here}").text
    assert "Unpaid" in said and "Pay €18.00" in said
    said = ada.get(f"{story.url}/invoice-payment").text
    assert "When you’ve paid, come back here" in said and story.open["number"] in said
    away = story.go_to_pay()
    assert away.opens == story.open["hosted_invoice_url"] and "opens in a moment" in away.text
    said = ada.get(story.url).text
    assert "You opened the payment page" in said and ada.page.soup.find("a", href=away.opens) is not None
    story.behave("ok")
    story.merchant.pay(story.open)
    story.look_again()
    said = ada.get(story.url).text
    assert "has confirmed: pay the invoice" in said and "On hold" not in said and "is due" not in said
    assert "€18.00 is due" not in ada.get("/").text
    assert story.number(story.open) == (story.open["number"], "paid", 1800, 1800)
    assert len(story.invoices()) == 2, "the payment closed the open invoice, and made no second one"
    with story.services.database.open(system(story.cedar)) as db:
        paid = db.scalars(select(Invoice).where(Invoice.number == story.open["number"])).one()
        payment = db.scalars(select(Payment).where(Payment.invoice_id == paid.id)).one()
    assert payment.status == "succeeded" and paid.paid_at == payment.created_at
    assert "Paid" in ada.get(f"/invoices/{paid.id}").text
    assert "This invoice is paid." in ada.post(f"{story.url}/invoice-payment").text


def test_what_happens_to_an_invoice_at_stripe_is_followed(story: Story) -> None:
    """Voided and uncollectible invoices are not payable. A pull finds what no webhook told."""
    merchant, ada = story.merchant, story.ada
    story.open["status"] = "void"
    refused = story.go_to_pay(expect=409)
    assert "This invoice can no longer be paid." in refused.text, "it is asked again before the page is opened"
    assert story.number(story.open)[1] == "void" and "€18.00 is due" not in ada.get(story.url).text
    second = merchant.renew(story.late)
    story.follow_events()
    assert story.number(second)[1] == "open"
    second["status"] = "uncollectible"
    pulling.pull(reader_of(story.services, story.stand_in, story.cedar))
    assert story.number(second)[1] == "void"
    third = merchant.renew(story.late)
    third["status"] = "draft"
    story.follow_events()
    assert len(story.invoices()) == 3, "a draft is not shown"
    assert "isn’t ready" in story.go_to_pay(expect=409).text.replace("isn't", "isn’t")


def test_two_open_invoices_are_shown_and_each_can_be_paid(story: Story, cast: Cast) -> None:
    """The second is paid first. The form of the other one stays, and ids of other subscriptions open nothing."""
    ada, second = story.ada, story.merchant.renew(story.late)
    story.follow_events()
    assert [row[:2] for row in story.invoices()][1:] == [(story.open["number"], "open"), (second["number"], "open")]
    older, newer = story.invoice_here(story.open), story.invoice_here(second)
    page = ada.get(f"{story.url}/invoice-payment?invoice={newer}")
    assert page.soup is not None
    forms = [item["value"] for item in page.soup.select("form[action$='/invoice-payment'] input[name=invoice]")]
    assert forms == [newer, older] and page.text.count("Pay €18.00 on the billing page") == 2
    assert ada.get(f"/invoices/{newer}").soup.find("a", href=f"{story.url}/invoice-payment?invoice={newer}") is not None
    assert ada.post(f"{story.url}/invoice-payment", data={"invoice": newer}, follow=False).opens == second["hosted_invoice_url"]
    story.behave("ok")
    story.merchant.pay(second)
    story.look_again()
    assert (story.number(second)[1], story.number(story.open)[1]) == ("paid", "open")
    said = ada.post(f"{story.url}/invoice-payment", data={"invoice": newer}).text
    assert "This invoice is paid." in said, "the form was sent again"
    away = ada.post(f"{story.url}/invoice-payment", data={"invoice": older}, follow=False)
    assert away.opens == story.open["hosted_invoice_url"]
    with story.services.database.open(system(cast.acorn)) as db:
        of_acorn = db.scalars(select(Invoice.id).limit(1)).one()
    for wrong in (of_acorn, "inv_unknown"):
        ada.post(f"{story.url}/invoice-payment", data={"invoice": wrong}, expect=404)


def test_an_invoice_paid_meanwhile_is_not_paid_again(story: Story) -> None:
    story.behave("ok")
    story.ada.get(f"{story.url}/invoice-payment")
    story.merchant.pay(story.open)
    said = story.ada.post(f"{story.url}/invoice-payment").text
    assert "This invoice is paid." in said and story.number(story.open)[1] == "paid"


def test_a_part_that_was_paid_leaves_the_rest_due(story: Story) -> None:
    story.open |= {"amount_remaining": 700, "amount_paid": 1100}
    pulling.pull(reader_of(story.services, story.stand_in, story.cedar))
    assert story.number(story.open)[2] == 700 and "€7.00 is due" in story.ada.get("/").text


def test_an_invoice_of_an_active_subscription_is_due_too(story: Story) -> None:
    story.merchant.change(story.late, status="active", collection_method="send_invoice")
    story.follow_events()
    said = story.ada.get("/").text
    assert "€18.00 for Cedar Archive is due." in said and f"Invoice {story.open['number']} isn’t paid yet." in said
    said = story.ada.get(story.url).text
    assert "€18.00 is due." in said and "You’ve paid up to then" not in said


def test_the_card_is_changed_without_paying(story: Story) -> None:
    ada = story.ada
    assert "You’ll change it on its page" in ada.get(f"{story.url}/payment-method").text
    away = ada.post(f"{story.url}/payment-method", follow=False)
    assert "/p/session/" in away.opens


def test_a_missing_answer_and_a_page_that_nobody_finishes(story: Story) -> None:
    ada = story.ada
    story.stand_in.on_next("GET", story.open["id"], "drop before")
    away = story.go_to_pay(expect=503)
    assert "can’t be reached right now" in away.text.replace("can't", "can’t") and "Pay €18.00" in away.text
    story.services.forwarder.systems["stripe"].page_calls._silent.clear()
    story.go_to_pay()
    story.look_again(sent_at=clock.wall() - timedelta(hours=25))
    said = ada.get(story.url).text
    assert "declined the request: pay the invoice" not in said and "€18.00 is due" in said


def test_nothing_of_it_is_charged_here(story: Story, cast: Cast) -> None:
    """No job here renews, retries or reminds because of the open invoice."""
    processor = story.services.processor

    def payments() -> int:
        with story.services.database.open(system(story.cedar)) as db:
            return db.scalar(select(func.count()).select_from(Payment)) or 0

    before, emails = payments(), len(story.ada.received(cast.ADA))
    clock.turn(timedelta(days=40))
    for run in (renew.run_due, dunning.run_due, retry.run_due):
        run(processor)
    assert payments() == before
    told = [item.subject for item in story.ada.received(cast.ADA)[emails:]]
    assert not [item for item in told if "Cedar" in item], told


def test_another_customer_cannot_open_the_page(story: Story, cast: Cast, app: Any) -> None:
    ben = Visitor(app)
    ben.sign_in(cast.BEN)
    ben.get(f"{story.url}/invoice-payment", expect=404)
    ben.post(f"{story.url}/invoice-payment", expect=404)


def test_what_only_the_issuer_can_change_is_not_offered(story: Story, cast: Cast, app: Any) -> None:
    """Corrections and refunds of what Stripe invoiced are made at Stripe. The pages do not offer them, and the commands refuse."""
    ada, owner = story.ada, story.owner(app, cast.SAM)
    story.behave("ok")
    story.merchant.pay(story.open)
    story.follow_events()
    here = story.invoice_here(story.open)
    for invoice in (here, story.invoice_here(story.merchant.account.every("invoice")[-1])):
        said = ada.get(f"/invoices/{invoice}").text
        assert (
            "Edit billing details" not in said and "Cedar Mail’s billing system issued this invoice. Ask Cedar Mail to correct it." in said
        )
        assert "Ask the business to correct it." in ada.get(f"/invoices/{invoice}/correction", expect=409).text
        refused = ada.post(f"/invoices/{invoice}/correction", data={"name": "Ada", "country": "GB"}, expect=409)
        assert "Another billing system issued this invoice." in refused.text
        with story.services.database.open(system(story.cedar), write=True) as db, pytest.raises(Conflict, match="Another billing system"):
            correct_invoice(db, invoice, {"name": "Ada Marlow", "country": "GB"})
    with story.services.database.open(system(story.cedar)) as db:
        assert db.scalar(select(func.count()).select_from(Correction)) == 0
        payment = db.scalars(select(Payment.id).where(Payment.invoice_id == here)).one()
    path = f"/console/{story.cedar}/sales/payments/{payment}"
    page = owner.get(path)
    assert page.soup is not None and not page.soup.select("a[href$='/refund']")
    for answer in (owner.get(f"{path}/refund", expect=409), owner.post(f"{path}/refund", data={"how": "all"}, expect=409)):
        assert "This was paid through another system. Refund it there." in answer.text
