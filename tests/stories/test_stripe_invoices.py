"""Ada's unpaid invoices at Stripe are shown with their amounts, and paid on Stripe's page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from billing.model.delegated_actions import DelegatedAction
from billing.model.invoices import Invoice
from billing.model.payments import Payment
from billing.renewals import dunning, renew, retry
from core import clock
from core.outgoing import Outgoing
from core.scope import system
from tenants.external import pull as pulling
from tests.cast import Cast
from tests.conftest import on_sqlite
from tests.harness.stripe_standin import StandIn, running
from tests.harness.stripe_standin.billing import Merchant
from tests.stories.stripe_mirror import KEY, make_events_due, mirrored, our_id, reader_of, work
from tests.visitor import Visitor

pytestmark = on_sqlite


@dataclass
class Story:
    """`late`: Ada's unpaid subscription at Stripe; `open`: its invoice."""

    ada: Visitor
    stand_in: StandIn
    merchant: Merchant
    cedar: str
    buyer: dict[str, Any]
    late: dict[str, Any]
    open: dict[str, Any]

    @property
    def services(self) -> Any:
        return self.ada.services

    @property
    def url(self) -> str:
        return f"/subscriptions/{our_id(self.services, self.cedar, self.late['id'])}"

    def behave(self, behavior: str) -> None:
        self.merchant.account.private[self.buyer["invoice_settings"]["default_payment_method"]]["behavior"] = behavior

    def go_to_pay(self, expect: int = 200) -> Any:
        self.ada.get(f"{self.url}/invoice-payment")
        return self.ada.post(f"{self.url}/invoice-payment", follow=False, expect=expect)

    def look_again(self, **changes: Any) -> None:
        """Make the open action due, and let the worker look."""
        with self.services.database.open(system(self.cedar), write=True) as db:
            for row in db.scalars(select(DelegatedAction).where(DelegatedAction.status.in_(("pending", "opened")))):
                row.check_at = clock.wall()
                for name, value in changes.items():
                    setattr(row, name, value)
        work(self.services)

    def follow_events(self) -> None:
        make_events_due(self.services, self.cedar)
        work(self.services)

    def invoices(self) -> list[tuple[str, str, int, int]]:
        with self.services.database.open(system(self.cedar)) as db:
            query = select(Invoice.number, Invoice.status, Invoice.due_minor, Invoice.paid_minor).order_by(Invoice.number)
            return [tuple(row) for row in db.execute(query)]

    def number(self, invoice: dict[str, Any]) -> tuple[str, str, int, int]:
        return next(row for row in self.invoices() if row[0] == invoice["number"])


@pytest.fixture
def story(cast: Cast, app: Any) -> Iterator[Story]:
    services = cast.services
    services.outgoing, before = Outgoing(replace(services.settings, outgoing_loopback=True)), services.outgoing
    services.forwarder.systems["stripe"].page_calls._silent.clear()  # tests share an application
    with running() as stand_in:
        merchant = Merchant(stand_in.account(KEY))
        buyer = merchant.customer(cast.ADA, "Ada Marlow")
        late = merchant.subscribe(buyer, (merchant.price("Cedar Archive", 1500), 1))
        merchant.account.private[buyer["invoice_settings"]["default_payment_method"]]["behavior"] = "insufficient_funds"
        unpaid = merchant.renew(late)
        cedar = mirrored(services, stand_in, name="Cedar Mail")
        pulling.pull(reader_of(services, stand_in, cedar))
        work(services)
        ada = Visitor(app)
        ada.sign_in(cast.ADA)
        yield Story(ada, stand_in, merchant, cedar, buyer, late, unpaid)
        assert stand_in.mistakes == []
    services.outgoing = before


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
