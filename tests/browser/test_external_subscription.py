"""Ada acts on a subscription that Stripe Billing collects, in the unified portal: invoice, card, plan, cancellation."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from billing.catalogue.collections import create_collection
from billing.model.delegated_actions import DelegatedAction
from core import clock
from core.outgoing import Outgoing
from core.scope import system
from tenants.external import pull as pulling
from tests.browser.conftest import axe
from tests.browser.served_portal import Town, built
from tests.harness.stripe_standin import StandIn, running
from tests.harness.stripe_standin.billing import Merchant
from tests.stories.stripe_mirror import KEY, make_events_due, mirrored, our_id, reader_of

pytestmark = pytest.mark.browser
PICTURES = os.environ.get("PORTAL_PICTURES")
"""A folder that gets a picture of each page."""


@dataclass
class Story:
    town: Town
    stand_in: StandIn
    merchant: Merchant
    cedar: str
    bought: dict[str, Any]

    @property
    def url(self) -> str:
        return f"/subscriptions/{our_id(self.town.services, self.cedar, self.bought['id'])}"

    def look(self, page: Page, name: str, contrast: bool = False) -> None:
        """Check a page at both widths. `contrast`: also that rule, which is slow; only for pages that no other test visits."""
        for width in (390, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is wider than the window at {width}"
            if PICTURES:
                page.screenshot(path=str(Path(PICTURES) / f"{name}-{width}.png"), full_page=True)
        assert axe(page, contrast=None if contrast else False) == [], name

    def hear(self) -> None:
        """Make what is open due, and let the worker read it: what a webhook sets off."""
        with self.town.services.database.open(system(self.cedar), write=True) as db:
            for row in db.scalars(select(DelegatedAction).where(DelegatedAction.status.in_(("pending", "opened")))):
                row.check_at = clock.wall()
        make_events_due(self.town.services, self.cedar)
        for lanes in self.town.services.worker.lanes:
            lanes.wake()

    def until(self, page: Page, text: str) -> None:
        """Reload the subscription's page until it has the text."""
        for _ in range(40):
            page.goto(self.url)
            if text in page.locator("main").inner_text():
                return
            page.wait_for_timeout(150)
        raise AssertionError(page.locator("main").inner_text())


@pytest.fixture(scope="module")
def story(sqlite: Any, tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Story]:
    with running() as stand_in, built(sqlite, tmp_path_factory.mktemp("town"), browser) as town:
        services = town.services
        services.outgoing = Outgoing(replace(services.settings, outgoing_loopback=True))
        merchant = Merchant(stand_in.account(KEY))
        merchant.now -= 10 * 86_400
        buyer = merchant.customer(town.cast.ADA, "Ada Marlow")
        plans = [merchant.price("Cedar Mailbox", 900), merchant.price("Cedar Mailbox Plus", 1900)]
        bought = merchant.subscribe(buyer, (plans[0], 1))
        method = buyer["invoice_settings"]["default_payment_method"]
        merchant.account.private[method]["behavior"] = "insufficient_funds"
        merchant.bill(bought, "subscription_cycle")
        cedar = mirrored(services, stand_in, name="Cedar Mail")
        pulling.pull(reader_of(services, stand_in, cedar))
        with services.database.open(system(cedar), write=True) as db:
            create_collection(db, cedar, name="Plans", product_ids=[our_id(services, cedar, item["id"]) for item in plans])
        yield Story(town, stand_in, merchant, cedar, bought)
        assert stand_in.mistakes == []


def test_ada_manages_a_subscription_that_stripe_bills(story: Story) -> None:
    page = story.town.page()
    _pay_the_open_invoice(story, page)
    _change_the_card(story, page)
    _change_the_plan(story, page)
    _cancel_and_undo_it(story, page)
    _see_a_refusal_and_a_missing_answer(story, page)


def _pay_the_open_invoice(story: Story, page: Page) -> None:
    invoice = story.merchant.account.objects[story.bought["latest_invoice"]]
    page.goto("/")
    expect(page.locator(".needs")).to_contain_text("Cedar Mailbox is on hold. €10.80 is due.")
    story.look(page, "1-overview-due")
    page.locator(f".needs a[href='{story.url}/invoice-payment']").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Pay for Cedar Mailbox")
    story.look(page, "2-invoice", contrast=True)
    page.get_by_role("button", name="Pay €10.80 on the billing page").click()
    page.wait_for_url(invoice["hosted_invoice_url"])
    page.get_by_label("Card number").fill("4242 4242 4242 4242")
    page.get_by_role("button", name="Pay invoice").click()
    expect(page.get_by_text("Invoice paid")).to_be_visible()
    page.goto(story.url)
    expect(page.locator("main")).to_contain_text("You opened the payment page of Cedar Mail’s billing system.")
    story.look(page, "3-invoice-opened", contrast=True)
    story.hear()
    story.until(page, "has confirmed: pay the invoice")
    expect(page.locator("main")).not_to_contain_text("On hold")
    story.look(page, "4-invoice-paid")


def _change_the_card(story: Story, page: Page) -> None:
    page.goto(f"{story.url}/payment-method")
    story.look(page, "5-card")
    page.get_by_role("button", name="Go to the billing page").click()
    page.wait_for_url("**/p/session/*")
    page.get_by_label("Card number").fill("5555 5555 5555 4444")
    page.get_by_role("button", name="Update card").click()
    page.wait_for_url(f"**{story.url}")
    story.hear()
    story.until(page, "Mastercard")


def _change_the_plan(story: Story, page: Page) -> None:
    page.get_by_role("link", name="Change plan").first.click()
    page.get_by_label(re.compile("Cedar Mailbox Plus")).check()
    story.look(page, "6-plans")
    page.locator("main form button.main").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Change from Cedar Mailbox to Cedar Mailbox Plus")
    story.look(page, "7-price")
    shown = re.sub(r"\D", "", page.locator(".slip .total .amt").first.inner_text())
    page.get_by_role("button", name=re.compile("^Pay .* and change$")).click()
    story.until(page, "has confirmed: change the plan")
    expect(page.get_by_role("heading", level=1)).to_have_text("Cedar Mailbox Plus")
    story.look(page, "8-changed")
    assert story.merchant.account.objects[story.bought["latest_invoice"]]["amount_paid"] == int(shown)


def _cancel_and_undo_it(story: Story, page: Page) -> None:
    page.get_by_role("link", name="Cancel subscription").first.click()
    page.locator("main form button[type=submit]").first.click()
    story.until(page, "has confirmed: cancel at the end of the billing period")
    assert story.bought["cancel_at_period_end"]
    story.look(page, "9-cancelled")
    page.get_by_role("button", name="Keep subscription").first.click()
    story.until(page, "has confirmed: undo the cancellation")
    assert not story.bought["cancel_at_period_end"]


def _see_a_refusal_and_a_missing_answer(story: Story, page: Page) -> None:
    story.merchant.change(story.bought, schedule="sub_sched_1")  # which is not known here
    page.get_by_role("link", name="Change plan").first.click()
    expect(page.locator("main")).to_contain_text("Plans that can only start at the next billing date aren’t listed.")
    page.get_by_label("Quantity").fill("2")
    page.locator("main form button.main").click()
    expect(page.locator("main")).to_contain_text("The business has scheduled changes of this subscription.")
    expect(page.get_by_label("Quantity")).to_have_value("2")
    story.look(page, "10-refused", contrast=True)
    story.merchant.change(story.bought, schedule=None)

    path = f"/v1/subscriptions/{story.bought['id']}"
    story.stand_in.on_next("POST", path, "drop")  # it arrives, and its answer is lost
    page.goto(f"{story.url}/pause")
    page.locator("main form button[type=submit]").first.click()
    expect(page.locator("main")).to_contain_text("We’ve sent the request to Cedar Mail’s billing system: pause.")
    with story.town.services.database.open(system(story.cedar), write=True) as db:
        row = db.scalars(select(DelegatedAction).where(DelegatedAction.status == "pending")).one()
        row.sent_at = clock.wall() - timedelta(hours=25)
    story.stand_in.on_next("GET", path, "drop before", times=20)
    for _ in range(20):
        story.hear()
        page.wait_for_timeout(150)
        page.goto(story.url)
        if "We don’t know whether" in page.locator("main").inner_text():
            break
    expect(page.locator("main")).to_contain_text("We don’t know whether Cedar Mail’s billing system made the change: pause.")
    story.look(page, "11-unknown")
    story.stand_in.forget_troubles()
