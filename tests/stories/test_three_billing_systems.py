"""Ada pays for subscriptions that Dodo Payments, Stripe and this portal bill, and manages them in the same pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing.customers.businesses import create_business
from billing.external.port import can
from billing.imports import load
from billing.model.delegated_actions import DelegatedAction
from billing.model.subscriptions import Subscription
from core import clock
from core.outgoing import Outgoing
from core.scope import everything, system
from tenants.external import pull as pulling
from tenants.external.account import connect, origin_of
from tenants.external.incoming_webhooks import learn
from tenants.imports.shapes import record
from tests.cast import Cast
from tests.conftest import on_sqlite
from tests.harness.stripe_standin import StandIn, running
from tests.harness.stripe_standin.billing import Merchant
from tests.stories.stripe_mirror import KEY, make_events_due, mirrored, our_id, reader_of, work
from tests.visitor import Page, Visitor

pytestmark = on_sqlite
PAGES = ("/", "/subscriptions", "/subscriptions?sort=price", "/billing-history", "/payment-methods", "/activity", "/search?q=cedar")
PATHS = {"cancel": "cancellation", "change_method": "payment-method", "pause": "pause", "change_plan": "plan-change",
         "edit_billing": "billing-details"}  # fmt: skip


@dataclass
class Story:
    """`running`, `unpaid`: Ada's subscriptions at Stripe, there. `own`, `dodo`: their ids here."""

    ada: Visitor
    stand_in: StandIn
    merchant: Merchant
    cedar: str
    own: str
    dodo: str
    running: dict[str, Any]
    unpaid: dict[str, Any]

    @property
    def services(self) -> Any:
        return self.ada.services

    def here(self, there: dict[str, Any]) -> str:
        return our_id(self.services, self.cedar, there["id"])

    def page(self, id: str) -> str:
        return self.ada.get(f"/subscriptions/{id}").text

    def act(self, there: dict[str, Any], path: str, **fields: str) -> str:
        """Ada sends a form, and the worker sends the request to Stripe. Returns the page afterwards."""
        url = f"/subscriptions/{self.here(there)}"
        self.ada.get(url)
        said = self.ada.post(f"{url}/{path}", data=fields).text
        assert "We’ve sent the request to Cedar Mail’s billing system" in said, said
        work(self.services)
        return self.page(self.here(there))


@pytest.fixture
def story(cast: Cast, app: Any) -> Iterator[Story]:
    services = cast.services
    services.outgoing, before = Outgoing(replace(services.settings, outgoing_loopback=True)), services.outgoing
    for name in ("dodo", "stripe"):
        services.forwarder.systems[name].page_calls._silent.clear()  # tests share an application
    with running() as stand_in:
        merchant = Merchant(stand_in.account(KEY))
        buyer = merchant.customer(cast.ADA, "Ada Marlow")
        plan = merchant.price("Cedar Mailbox", 900)
        bought = merchant.subscribe(buyer, (plan, 2))
        late = merchant.subscribe(buyer, (merchant.price("Cedar Archive", 1500), 1))
        merchant.account.private[buyer["invoice_settings"]["default_payment_method"]]["behavior"] = "insufficient_funds"
        merchant.renew(late)
        cedar = mirrored(services, stand_in, name="Cedar Mail")
        pulling.pull(reader_of(services, stand_in, cedar))
        ada = Visitor(app)
        ada.sign_in(cast.ADA)
        yield Story(ada, stand_in, merchant, cedar, cast.ada_at_acorn.subscription_id, billed_by_dodo(cast), bought, late)
        assert stand_in.mistakes == []
    services.outgoing = before


def billed_by_dodo(cast: Cast) -> str:
    """Ada's subscription at a business that an account at Dodo Payments bills. The account cannot be reached."""
    services = cast.services
    with services.database.open(everything("a business that Dodo bills"), write=True) as db:
        made = create_business(db, name="Dune Radio", currency="EUR", zone="Europe/London", support_email="help@dune.example",
                               settings={"plan_change": True, "pause": True}).business_id  # fmt: skip
    with services.database.open(system(made), write=True) as db:
        connect(db, services.settings, made, "dodo", base_url="http://127.0.0.1:9", api_key="k")
    origin = origin_of(services.database, made, "dodo")
    assert origin is not None
    now = clock.now()
    began = (now - timedelta(days=9)).isoformat()
    told = [
        record("customer", {"customer_id": "cus_1", "email": cast.ADA, "name": "Ada Marlow"}),
        record("product", {"product_id": "pdt_1", "name": "Dune Plus",
                           "price": {"type": "recurring_price", "currency": "EUR", "price": 700}}),
        record("subscription", {
            "subscription_id": "sub_1", "customer": {"customer_id": "cus_1"}, "product_id": "pdt_1", "status": "active", "quantity": 2,
            "previous_billing_date": began, "next_billing_date": (now + timedelta(days=21)).isoformat(),
            "billing": {"country": "GB", "city": "London"}, "created_at": began,
        }),
        record("payment", {
            "payment_id": "pay_1", "customer": {"customer_id": "cus_1"}, "total_amount": 1400, "currency": "EUR", "status": "succeeded",
            "subscription_id": "sub_1", "created_at": began,
        }),
    ]  # fmt: skip
    with services.database.open(system(made), write=True) as db:
        load(db, origin, told, renew=True)
        return db.scalars(select(Subscription.id)).one()


def offered(page: Page) -> set[str]:
    """Return the actions that a subscription's page links to."""
    assert page.soup is not None
    links = {link["href"].rpartition("/")[2] for link in page.soup.select("main a[href]")}
    return {verb for verb, path in PATHS.items() if path in links}


def newest(story: Story) -> DelegatedAction:
    with story.services.database.open(system(story.cedar)) as db:
        query = select(DelegatedAction).order_by(DelegatedAction.created_at.desc(), DelegatedAction.id.desc()).limit(1)
        return db.scalars(query).one()


def test_pages_show_all_three(story: Story) -> None:
    ada = story.ada
    for path in PAGES:
        ada.get(path)
    said = ada.get("/subscriptions").text
    assert all(name in said for name in ("Acorn Team", "Birch Team", "Cedar Mailbox", "Cedar Archive", "Dune Plus")), said
    assert "€21.60" in said, "two mailboxes with the tax that Stripe took"
    assert offered(ada.get(f"/subscriptions/{story.own}")) == set(PATHS)
    by_dodo = {verb for verb in PATHS if can("dodo", verb)} - {"change_method"}  # no card is known
    assert offered(ada.get(f"/subscriptions/{story.dodo}")) == by_dodo


def test_ada_cancels_keeps_pauses_and_resumes_at_stripe(story: Story) -> None:
    there = story.running
    for path, fields, has_changed, confirmed in (
        ("cancellation", {"feedback": "unused"}, lambda: there["cancel_at_period_end"], "cancel at the end of the billing period"),
        ("cancellation/revocation", {}, lambda: not there["cancel_at_period_end"], "undo the cancellation"),
        ("pause", {}, lambda: there["pause_collection"], "pause"),
        ("pause/resumption", {}, lambda: not there["pause_collection"], "resume"),
    ):
        said = story.act(there, path, **fields)
        assert f"Cedar Mail’s billing system has confirmed: {confirmed}." in said and has_changed(), said
    url = f"/subscriptions/{story.here(there)}"
    story.ada.get(url)
    page = story.ada.post(f"{url}/plan-change", data={"country": "GB"}, expect=None)
    assert 400 <= page.status < 500


def test_ada_changes_the_card_and_pays_an_open_invoice_on_stripes_pages(story: Story) -> None:
    ada, url = story.ada, f"/subscriptions/{story.here(story.running)}/payment-method"
    assert "stores the card" in ada.get(url).text
    assert ada.post(url).opens.startswith(f"{story.stand_in.base_url}/p/session/")

    late = story.here(story.unpaid)
    invoice = story.merchant.account.objects[story.unpaid["latest_invoice"]]
    assert "Cedar Archive is on hold. €18.00 is due." in ada.get("/").text
    said = story.page(late)
    assert "On hold" in said and "Pay €18.00" in said
    url = f"/subscriptions/{late}/invoice-payment"
    assert invoice["number"] in ada.get(url).text
    assert ada.post(url).opens == invoice["hosted_invoice_url"]
    card = story.merchant.account.every("payment_method", customer=story.unpaid["customer"])[0]
    story.merchant.account.private[card["id"]]["behavior"] = "ok"
    story.merchant.pay(invoice)
    make_events_due(story.services, story.cedar)
    work(story.services)
    said = story.page(late)
    assert "On hold" not in said and "Active" in said and "€18.00 is due" not in ada.get("/").text
    assert invoice["number"] in ada.get("/billing-history").text


def test_a_refusal_and_a_missing_answer_are_explained(story: Story) -> None:
    ada, there = story.ada, story.running
    story.stand_in.on_next("POST", there["id"], "drop")  # it arrives, and its answer is lost
    said = story.act(there, "pause")
    assert "We’ve sent the request to Cedar Mail’s billing system: pause." in said
    again = ada.post(f"/subscriptions/{story.here(there)}/cancellation", data={"feedback": "unused"}, expect=None)
    assert again.status == 409 and "Another change is still being processed" in again.text
    with story.services.database.open(system(story.cedar), write=True) as db:
        waiting = db.scalars(select(DelegatedAction).where(DelegatedAction.status == "pending")).one()
        waiting.sent_at, waiting.check_at = clock.wall() - timedelta(hours=25), clock.wall()
    story.stand_in.on_next("GET", there["id"], "drop before", times=4)
    story.stand_in.on_next("POST", there["id"], "drop before")
    work(story.services)
    assert "We don’t know whether Cedar Mail’s billing system made the change: pause." in story.page(story.here(there))
    story.stand_in.forget_troubles()
    learn(reader_of(story.services, story.stand_in, story.cedar), "subscription", there["id"])
    assert "has confirmed: pause" in story.page(story.here(there))

    story.merchant.end(story.unpaid)  # which is not known here
    url = f"/subscriptions/{story.here(story.unpaid)}"
    ada.get(url)
    ada.post(f"{url}/cancellation", data={"feedback": "unused"})
    work(story.services)
    said = story.page(story.here(story.unpaid))
    assert newest(story).status == "confirmed" and "no longer bills you" in said, "it has ended, as she wanted"

    url = f"/subscriptions/{story.dodo}/payment-method"
    ada.get(url)
    page = ada.post(url, expect=503)
    assert "can’t be reached right now. Nothing was changed." in page.text.replace("'", "’")
    assert not re.search(r"Traceback|HTTPConnection|127\.0\.0\.1:9", page.text)
