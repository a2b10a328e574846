"""Ada changes the plan of a subscription that Stripe bills. The figures are Stripe's, and what was shown is what is charged."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing.catalogue.collections import create_collection
from billing.model.catalogue import Addon
from billing.model.delegated_actions import DelegatedAction
from billing.model.parties import Business
from billing.model.quotes import Quote
from core import clock
from core.outgoing import Outgoing
from core.scope import everything, system
from tenants.external import pull as pulling
from tests.cast import Cast
from tests.conftest import on_sqlite
from tests.harness.stripe_standin import StandIn, plan_changes, running
from tests.harness.stripe_standin.billing import MONTH, Merchant
from tests.stories.stripe_mirror import KEY, mirrored, our_id, reader_of, work
from tests.visitor import Visitor

pytestmark = on_sqlite
DAY = 86_400
SMALL, LARGE, YEAR, USAGE = 900_000_00, 1_800_000_00, 12_000_000_00, 0
"""Prices so high that each second of a proration is a different amount."""


@dataclass
class Story:
    """`bought`: Ada's subscription at Stripe, of the small plan with two seats. A third of its period is over."""

    ada: Visitor
    stand_in: StandIn
    merchant: Merchant
    cedar: str
    prices: dict[str, Any]
    buyer: dict[str, Any]
    bought: dict[str, Any]

    @property
    def services(self) -> Any:
        return self.ada.services

    @property
    def url(self) -> str:
        return f"/subscriptions/{our_id(self.services, self.cedar, self.bought['id'])}"

    def quote(self, plan: str, quantity: int = 1, expect: int = 200, **more: str) -> str:
        """Choose a plan. Returns the page with the price."""
        self.ada.get(f"{self.url}/plan-change", expect=None)
        product_id = our_id(self.services, self.cedar, self.prices[plan]["id"])
        form = {"product_id": product_id, "quantity": str(quantity), **more}
        return self.ada.post(f"{self.url}/plan-change/quotes", data=form, expect=expect).text

    def confirm(self) -> str:
        said = self.ada.submit("/confirmation").text
        assert "sent the request" in said and "change the plan" in said, said
        work(self.services)
        return self.ada.get(self.url).text

    def change(self, plan: str, quantity: int = 1) -> str:
        self.quote(plan, quantity, **{self.addon_field: "2"})
        return self.confirm()

    @property
    def addon_field(self) -> str:
        with self.services.database.open(system(self.cedar)) as db:
            return f"addon-{db.scalars(select(Addon.id)).one()}"

    def shown(self) -> Quote:
        with self.services.database.open(system(self.cedar)) as db:
            return db.scalars(select(Quote).order_by(Quote.created_at.desc(), Quote.id.desc()).limit(1)).one()

    def action(self) -> DelegatedAction:
        with self.services.database.open(system(self.cedar)) as db:
            return db.scalars(select(DelegatedAction).order_by(DelegatedAction.created_at.desc()).limit(1)).one()

    def set(self, **settings: Any) -> None:
        with self.services.database.open(everything("settings of a business"), write=True) as db:
            row = db.scalars(select(Business).where(Business.business_id == self.cedar)).one()
            row.settings = {**row.settings, **settings}

    def invoice(self) -> dict[str, Any]:
        return self.merchant.account.objects[self.bought["latest_invoice"]]  # type: ignore[no-any-return]

    def behave(self, behavior: str) -> None:
        self.merchant.account.private[self.buyer["invoice_settings"]["default_payment_method"]]["behavior"] = behavior

    def check_again(self, **changes: Any) -> None:
        """Make the open action due, and let the worker look."""
        with self.services.database.open(system(self.cedar), write=True) as db:
            for row in db.scalars(select(DelegatedAction).where(DelegatedAction.status.in_(("pending", "opened")))):
                row.check_at = clock.wall()
                for name, value in changes.items():
                    setattr(row, name, value)
        work(self.services)

    def posts(self) -> int:
        return sum(1 for call in self.stand_in.calls if call[:2] == ("POST", f"/v1/subscriptions/{self.bought['id']}"))


@pytest.fixture
def story(cast: Cast, app: Any) -> Iterator[Story]:
    services = cast.services
    services.outgoing, before = Outgoing(replace(services.settings, outgoing_loopback=True)), services.outgoing
    services.forwarder.systems["stripe"].page_calls._silent.clear()  # tests share an application
    with running() as stand_in:
        merchant = Merchant(stand_in.account(KEY))
        merchant.now -= 10 * DAY
        buyer = merchant.customer(cast.ADA, "Ada Marlow")
        prices = {"small": merchant.price("Cedar Small", SMALL), "large": merchant.price("Cedar Large", LARGE),
                  "year": merchant.price("Cedar Year", YEAR, "year"),
                  "usage": merchant.price("Cedar Usage", USAGE, usage="metered")}  # fmt: skip
        seats = merchant.price("Cedar Seats", 500)
        bought = merchant.subscribe(buyer, (prices["small"], 1), (seats, 2))
        cedar = mirrored(services, stand_in, name="Cedar Mail")
        pulling.pull(reader_of(services, stand_in, cedar))
        with services.database.open(system(cedar), write=True) as db:
            create_collection(db, cedar, name="Plans", product_ids=[our_id(services, cedar, item["id"]) for item in prices.values()])
        ada = Visitor(app)
        ada.sign_in(cast.ADA)
        yield Story(ada, stand_in, merchant, cedar, prices, buyer, bought)
        assert stand_in.mistakes == []
    services.outgoing = before


def test_what_was_shown_is_charged_to_the_minor_unit_although_time_passes(story: Story) -> None:
    """A second later, the same change would cost another amount. The other item of the subscription stays as it is."""
    story.set(proration_on_upgrade="prorated_immediately_keep_cycle")
    seats = dict(story.bought["items"]["data"][1])
    said = story.quote("large", **{story.addon_field: "2"})
    assert "Cedar Large" in said and "Unused time on Cedar Small" in said and "Discount code" not in said
    assert "If the payment is declined, nothing changes." in said
    due = story.shown().due_minor
    time.sleep(1.1)
    assert f"{due / 100:,.2f}" in said, "the amount is on the page"
    said = story.confirm()
    assert "has confirmed: change the plan" in said and "Cedar Large" in said
    assert story.invoice()["number"] in said, "the payment is there at once"
    assert story.invoice()["amount_paid"] == due and abs(due - (LARGE - SMALL) * 2 // 3 * 12 // 10) < 1_000_00
    items = story.bought["items"]["data"]
    assert items[0]["price"]["id"] == story.prices["large"]["id"] and items[1] == seats


@pytest.mark.parametrize(
    ("mode", "plan", "quantity"),
    [("prorated_immediately", "large", 1), ("prorated_immediately", "small", 3), ("prorated_immediately", "year", 1),
     ("prorated_immediately_keep_cycle", "large", 2), ("full_immediately", "large", 1), ("do_not_bill", "large", 1),
     ("do_not_bill", "year", 1)],
)  # fmt: skip
def test_each_mode_charges_and_renews_as_shown(story: Story, mode: str, plan: str, quantity: int) -> None:
    story.set(proration_on_upgrade=mode)
    before = story.bought["latest_invoice"]
    said = story.change(plan, quantity)
    shown = story.shown()
    assert "has confirmed" in said and shown.outcome == "delegated"
    paid = story.invoice()["amount_paid"] if story.bought["latest_invoice"] != before else 0
    assert paid == shown.due_minor and (paid > 0) == (mode != "do_not_bill" or plan == "year")
    item = story.bought["items"]["data"][0]
    assert (item["price"]["id"], item["quantity"]) == (story.prices[plan]["id"], quantity)
    assert abs(item["current_period_end"] - shown.next_billing_at.timestamp()) < 60
    assert (item["current_period_start"] > time.time() - DAY) is shown.restarts
    assert story.merchant.renew(story.bought)["total"] == shown.next_renewal_minor


def test_credit_of_a_cheaper_plan_is_shown_and_kept_at_stripe(story: Story) -> None:
    story.set(effective_on_downgrade="immediately", proration_on_downgrade="prorated_immediately_keep_cycle")
    story.quote("small", 2, **{story.addon_field: "2"})
    story.confirm()
    story.quote("small", 1, **{story.addon_field: "2"})
    shown = story.shown()
    assert shown.due_minor == 0 and shown.credit_minor > 0 and "Credit for your next payment" in story.ada.page.text
    story.confirm()
    assert story.buyer["balance"] == -shown.credit_minor
    story.buyer["balance"] = -1_000_000
    story.quote("large", **{story.addon_field: "2"})
    assert "Credit from earlier" in story.ada.page.text and "€10,000.00" in story.ada.page.text, "the balance is used by the next change"
    due = story.shown().due_minor
    story.confirm()
    assert due and story.invoice()["amount_paid"] == due and story.buyer["balance"] == 0


def test_what_was_owed_before_and_what_is_too_small_to_charge_are_lines_of_their_own(story: Story) -> None:
    story.set(proration_on_upgrade="prorated_immediately_keep_cycle")
    story.buyer["balance"] = 700
    said = story.quote("large", **{story.addon_field: "2"})
    assert "Carried over from earlier €7.00" in said
    story.buyer["balance"] = 0
    story.bought["items"]["data"][1]["price"]["unit_amount"] = 30
    said = story.quote("small", **{story.addon_field: "3"})
    assert story.shown().due_minor == 0 and "Too small to charge now, carried over" in said
    assert "has confirmed" in story.confirm() and story.buyer["balance"] == -story.shown().credit_minor > 0


def test_a_price_that_rose_meanwhile_is_refused(story: Story) -> None:
    story.quote("large", **{story.addon_field: "2"})
    story.prices["large"]["unit_amount"] += 1_000
    said = story.confirm()
    assert "The price has changed since you reviewed it" in said and story.posts() == 0
    assert story.bought["items"]["data"][0]["price"]["id"] == story.prices["small"]["id"]


def test_a_declined_payment_leaves_the_plan_until_its_invoice_is_paid(story: Story) -> None:
    """Also with `apply_change`, which would leave a changed plan unpaid."""
    story.set(on_payment_failure="apply_change")
    story.behave("insufficient_funds")
    said = story.change("large")
    link = story.invoice()["hosted_invoice_url"]
    assert "needs you to finish this on its page" in said and story.action().status == "opened"
    assert story.ada.page.soup.find("a", href=link) is not None and "Cedar Large" not in story.ada.page.h1
    story.check_again()
    assert story.action().status == "opened" and story.posts() == 1, "it is looked up, and not sent again"
    assert "isn't paid yet" in story.quote("year", expect=409, **{story.addon_field: "2"})
    story.behave("ok")
    story.merchant.pay(story.invoice())
    story.check_again()
    said = story.ada.get(story.url).text
    assert "has confirmed: change the plan" in said and "Cedar Large" in said


def test_3d_secure_leads_to_the_hosted_invoice_and_expires(story: Story) -> None:
    story.behave("authenticate")
    said = story.change("large")
    assert "Go to the billing page" in said and story.action().link == story.invoice()["hosted_invoice_url"]
    plan_changes.expire(story.merchant.account, story.bought)
    story.check_again(sent_at=clock.wall() - timedelta(hours=25))
    said = story.ada.get(story.url).text
    assert "declined the request: change the plan" in said and "It was not paid in time." in said and "Nothing was changed." in said


def test_a_lost_answer_is_looked_up_and_not_sent_again(story: Story) -> None:
    story.quote("large", **{story.addon_field: "2"})
    story.stand_in.on_next("POST", story.bought["id"], "drop")  # it arrives, and its answer is lost
    said = story.confirm()
    assert "It should confirm in a moment." in said and story.action().status == "pending"
    story.check_again()
    assert story.action().status == "confirmed" and story.posts() == 1
    assert len(story.merchant.account.every("invoice")) == 2, "charged once"


def test_a_subscription_that_stripe_cannot_change_this_way_is_refused_in_words(story: Story) -> None:
    merchant, bought = story.merchant, story.bought
    for changes, words in (
        ({"schedule": "sub_sched_1"}, "The business has scheduled changes"),
        ({"collection_method": "send_invoice"}, "paid by invoice"),
    ):
        before = {name: bought[name] for name in changes}
        merchant.change(bought, **changes)
        assert words in story.quote("large", expect=409, **{story.addon_field: "2"}), changes
        merchant.change(bought, **before)
    story.set(proration_on_upgrade="difference_immediately")
    assert "difference of the two prices" in story.quote("large", expect=409, **{story.addon_field: "2"})
    story.set(proration_on_upgrade="prorated_immediately")
    story.quote("usage", expect=404)
    merchant.retire(story.prices["large"])
    assert "The price specified is inactive" in story.quote("large", expect=409, **{story.addon_field: "2"}), "its own words"
    assert story.posts() == 0


def test_a_metered_plan_has_no_button_and_a_metered_item_stays(story: Story) -> None:
    merchant, usage = story.merchant, story.prices["usage"]
    metered = merchant.subscribe(story.buyer, (usage, 1))
    mixed = merchant.subscribe(story.buyer, (story.prices["small"], 1), (usage, 1))
    pulling.pull(reader_of(story.services, story.stand_in, story.cedar))
    page = story.ada.get(f"/subscriptions/{our_id(story.services, story.cedar, metered['id'])}")
    assert "plan-change" not in page.body.decode() and "Cancel subscription" in page.text
    story.bought = mixed
    before = dict(mixed["items"]["data"][1])
    product = our_id(story.services, story.cedar, story.prices["large"]["id"])
    story.ada.get(f"{story.url}/plan-change")
    fields = {field["name"]: field.get("value", "") for field in story.ada.page.soup.select("input[name^=addon-]")}
    story.ada.post(f"{story.url}/plan-change/quotes", data={"product_id": product, "quantity": "1", **fields})
    assert "has confirmed" in story.confirm()
    after = mixed["items"]["data"][1]
    assert (after["price"]["id"], after["quantity"]) == (before["price"]["id"], before["quantity"])


def test_a_plan_that_could_only_start_later_is_not_offered(story: Story) -> None:
    """At Stripe, that needs a schedule, which has to repeat every discount and tax rate of the subscription."""
    story.change("large")
    said = story.ada.get(f"{story.url}/plan-change").text
    assert "Cedar Small" not in said and "To change to one of them, contact help@acorn.example." in said
    assert "can't start at the next billing date" in story.quote("small", expect=409, **{story.addon_field: "2"})
    story.set(effective_on_downgrade="immediately")
    said = story.ada.get(f"{story.url}/plan-change").text
    assert "Cedar Small" in said and "contact help@acorn.example" not in said


def test_add_ons_change_and_go_alone(story: Story) -> None:
    story.set(proration_on_upgrade="prorated_immediately_keep_cycle", effective_on_downgrade="immediately")
    story.quote("small", 1, **{story.addon_field: "5"})
    assert "has confirmed" in story.confirm() and [item["quantity"] for item in story.bought["items"]["data"]] == [1, 5]
    story.quote("small", 1, **{story.addon_field: "0"})
    assert "has confirmed" in story.confirm() and [item["quantity"] for item in story.bought["items"]["data"]] == [1]


def test_a_change_in_a_trial_costs_nothing_before_its_end(story: Story) -> None:
    merchant = story.merchant
    trial = merchant.subscribe(story.buyer, (story.prices["small"], 1), status="trialing")
    merchant.change(trial, trial_start=merchant.now, trial_end=merchant.now + MONTH)
    pulling.pull(reader_of(story.services, story.stand_in, story.cedar))
    story.bought = trial
    said = story.quote("large")
    assert re.search(r"You won’t be charged today", said) and story.shown().due_minor == 0
    assert "has confirmed" in story.confirm()
    assert trial["latest_invoice"] is None and trial["items"]["data"][0]["price"]["id"] == story.prices["large"]["id"]
