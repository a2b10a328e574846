"""Common tasks of customers in a real browser: replace a lost card, upgrade, downgrade, cancel, undo the cancellation.

At the unified door on both engines, and once at a business's door.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from core import clock
from tests import unpaid_renewals
from tests.browser.served_portal import BANK_ASKS, POOR, Town, built, minor, type_card

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module", params=["sqlite-unified", "postgresql-unified", "sqlite-business"])
def module_town(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Town]:
    engine, door = request.param.split("-")
    databases: Any = request.getfixturevalue("postgres" if engine == "postgresql" else "sqlite")
    with built(databases, tmp_path_factory.mktemp("town"), browser, door) as town:
        town.signed_in()
        yield town


@pytest.fixture
def town(module_town: Town) -> Iterator[Town]:
    module_town.visited.clear()
    yield module_town
    if module_town.door == "/":  # everything in place: nobody was sent to a business's own pages
        assert not [url for url in module_town.visited if "/business/" in url or re.search(r"/login/bus_", url)]
    module_town.close_windows()


def test_a_lost_card_is_replaced(town: Town) -> None:
    item = town.subscribe()
    town.services.gateway.deliver_due()
    unpaid_renewals.hold(town.cast, item)
    page, told = town.page(), len(town.subjects())
    if town.door == "/":
        page.goto("/")
        page.locator(f".needs a[href*='{item.subscription_id}']").first.click()
    else:  # the email says so and links there
        page.goto(f"/mailbox?to={item.email}")
        page.get_by_role("link", name="did not go through").first.click()
        page.locator(f".plain a[href*='{item.subscription_id}']").first.click()
    expect(page).to_have_url(re.compile(rf"{town.at(item, '/payment-method')}$"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Pay for Acorn Team")
    due, before = minor(page.locator(".slip .total .amt").inner_text()), town.took()
    page.get_by_label("Another card or method").check()
    page.get_by_role("button", name="Pay €29.00").click()
    type_card(page, POOR)
    expect(page.get_by_role("alert")).to_contain_text("insufficient funds")
    type_card(page, BANK_ASKS)
    expect(page.get_by_role("heading", level=1)).to_have_text("Confirm with your bank")
    page.get_by_role("button", name="Yes, this is me").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Paid: €29.00", timeout=30_000)
    assert town.took() == [*before, due] == [*before, 2900] and town.subscription(item).status == "active"
    pdf = page.request.get(page.get_by_role("link", name="as PDF").first.get_attribute("href") or "")
    assert pdf.ok and pdf.headers["content-type"] == "application/pdf" and pdf.body().startswith(b"%PDF-")
    emails = [subject.removeprefix("[test] ") for subject in town.subjects()[told:]]
    assert sorted(emails) == ["Acorn Team is active again", "Paid: €29.00 to Acorn Notes"]


def test_an_upgrade_charges_its_quote(town: Town) -> None:
    item = town.subscribe()
    clock.turn(clock.offset() + timedelta(days=11, hours=7))
    page, before = town.page(), town.took()
    page.goto(town.at(item))
    page.get_by_role("link", name="Change plan").first.click()
    page.get_by_label(re.compile("Acorn Max")).check()
    page.get_by_role("button", name="Review the price").click()
    slip = page.locator(".slip")
    quoted = minor(slip.locator(".total .amt").inner_text())
    lines = slip.locator(".lines").first.locator("> div:not(.sub-line) dd").all_inner_texts()
    assert sum(minor(text) * (-1 if re.search("[-−]", text) else 1) for text in lines) == quoted > 0
    page.get_by_role("button", name=re.compile(r"^Pay .* and change$")).click()
    expect(page.get_by_role("status").first).to_contain_text("Paid. You’re now on Acorn Max.")
    assert town.took() == [*before, quoted] and town.subscription(item).product_id == town.cast.products["acorn.more"]


def test_a_downgrade_waits_for_its_date(town: Town) -> None:
    item = town.subscribe("acorn.more")
    page, before = town.page(), town.took()
    page.goto(town.at(item, "/plan-change"))
    page.get_by_label(re.compile("Acorn Team")).check()
    page.get_by_role("button", name="Review the price").click()
    assert minor(page.locator(".slip .total .amt").inner_text()) == 0
    page.get_by_role("button", name=re.compile("^Change on ")).click()
    expect(page.get_by_role("status").first).to_contain_text("You can undo this until then")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Acorn Max")
    assert town.took() == before
    goal = town.subscription(item).next_billing_at + timedelta(days=1)
    page.goto("/clock")
    page.get_by_label("Date").fill(f"{goal:%Y-%m-%d}")
    page.get_by_role("button", name="Go to this date").click()
    expect(page.get_by_text("In the meantime:")).to_be_visible(timeout=200_000)
    expect(page.locator(".test")).to_contain_text(f"The test clock is set to {goal.day} {goal:%B %Y}.")
    page.goto(town.at(item))
    expect(page.get_by_role("heading", level=1)).to_contain_text("Acorn Team")
    assert town.subscription(item).period_n == 2 and 2900 in town.took()[len(before) :]
    page.goto("/clock")
    page.get_by_role("button", name="Go back to real time").click()
    expect(page.get_by_text("shows real time")).to_be_visible()


def test_a_cancellation_is_undone(town: Town) -> None:
    item = town.subscribe()
    page = town.page()
    page.goto(town.at(item))
    page.get_by_role("link", name="Cancel subscription", exact=True).last.click()
    expect(page.get_by_label(re.compile("^On "))).to_be_checked()
    page.locator("main form button.main").click()
    page.goto(town.at(item))
    expect(page.locator(".now .state")).to_have_text("Ending")
    page.get_by_role("button", name="Keep subscription").first.click()
    page.goto(town.at(item))
    expect(page.locator(".now .state")).to_have_text("Active")
    row = town.subscription(item)
    due = row.next_billing_at
    assert not row.cancel_at_period_end
    clock.turn(due + timedelta(minutes=1) - clock.wall())
    unpaid_renewals.renew_due(town.services)
    assert town.subscription(item).period_n == 2
