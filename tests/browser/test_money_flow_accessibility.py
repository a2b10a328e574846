"""Payment flows in every language, in light and dark mode, on a phone, by keyboard and without JavaScript."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from billing.model.subscriptions import Subscription
from core import clock, i18n
from tests import unpaid_renewals
from tests.browser.conftest import axe
from tests.browser.money_flow_pages import hang
from tests.browser.served_portal import GOOD, Town, built, type_card
from tests.cast import Buyer

pytestmark = pytest.mark.browser

# one page of each template; the other states are checked in English
TEMPLATES = (
    "dashboard",
    "on hold, declined",
    "dues, declined",
    "dues, unknown",
    "payment, declined",
    "bank asks",
    "plans",
    "quote declined",
    "cancel",
    "pause",
    "billing details",
    "in use",
    "methods",
    "keys",
    "history",
    "invoice",
    "correction",
    "refund",
    "clock",
)


@dataclass
class Hung:
    town: Town
    paths: dict[str, str]
    offset: timedelta


@pytest.fixture(scope="module")
def gallery(sqlite: Any, tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Hung]:
    with built(sqlite, tmp_path_factory.mktemp("town"), browser) as town:
        town.signed_in()
        yield Hung(town, hang(town), clock.offset())


@pytest.fixture
def hung(gallery: Hung) -> Iterator[Hung]:
    clock.turn(gallery.offset)  # every test begins in real time
    yield gallery
    gallery.town.close_windows()


@pytest.mark.parametrize("language", i18n.supported())
def test_money_flow_pages_are_accessible_and_fit_a_phone(hung: Hung, language: str) -> None:
    """English: every state, and each template in dark mode. Other languages: each template, without the contrast check."""
    english = language == "en"
    page = hung.town.page(width=390)
    page.context.add_cookies([{"name": "lang", "value": language, "url": hung.town.services.settings.base_url}])
    wrong: list[str] = []
    for name, path in hung.paths.items():
        if not english and name not in TEMPLATES:
            continue
        page.goto(path)
        assert page.locator("html").get_attribute("lang") == i18n.html_lang(language)
        wrong += [f"{name}: {item}" for item in axe(page, contrast=None if english else False)]
        if english and name in TEMPLATES:
            page.emulate_media(color_scheme="dark")
            wrong += [f"{name}, dark: {item}" for item in axe(page, contrast=True)]
            page.emulate_media(color_scheme="light")
        if (width := page.evaluate("document.documentElement.scrollWidth")) > 390:
            wrong.append(f"{name}: {width} px wide")
    assert not wrong, "\n".join(wrong)


def held(town: Town) -> Buyer:
    item = town.subscribe()
    unpaid_renewals.hold(town.cast, item)
    return item


def subscription(hung: Hung, buyer: Buyer) -> Subscription:
    return hung.town.subscription(buyer)


# --- by keyboard only
def tab(page: Page, wanted: str) -> None:
    """Press Tab until the element matching `wanted` (CSS) has focus. Every stop shows its focus, and none moves upwards."""
    page.wait_for_load_state("load")  # the focus is drawn by the stylesheet
    last = page.evaluate("window.lastStop ?? -1")
    for _ in range(60):
        page.keyboard.press("Tab")
        stop = page.evaluate(
            """wanted => {
            const e = document.activeElement, s = getComputedStyle(e), all = [...document.querySelectorAll('*')];
            return {there: e.matches(wanted), place: all.indexOf(e), outline: s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2,
                    seen: e.getBoundingClientRect().height > 0, html: e.outerHTML.slice(0, 120)} }""",
            wanted,
        )
        assert stop["outline"] and stop["seen"], f"no visible focus: {stop['html']}"
        assert stop["place"] > last, f"the focus jumps back: {stop['html']}"
        last = stop["place"]
        if stop["there"]:
            page.evaluate("place => { window.lastStop = place }", last)
            return
    raise AssertionError(f"no way by keyboard to {wanted}")


def test_dues_are_paid_by_keyboard(hung: Hung) -> None:
    item = held(hung.town)
    page = hung.town.page(width=390)
    page.goto(hung.town.at(item, "/payment-method"))
    tab(page, "a.skip")
    tab(page, "input[name=method]:checked")
    for _ in range(40):
        if page.get_by_label("Another card or method").is_checked():
            break
        page.keyboard.press("ArrowDown")
    expect(page.get_by_label("Another card or method")).to_be_checked()
    tab(page, "input[name=later]")
    page.keyboard.press("Space")
    expect(page.get_by_label(re.compile("from now on$"))).not_to_be_checked()
    page.keyboard.press("Space")
    tab(page, "form.decide button.main")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Pay €29.00")
    for name, text in (("name", ""), ("number", GOOD), ("expiry", "06/38"), ("cvc", "123")):
        tab(page, f"input[name={name}]")
        page.keyboard.type(text)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Paid: €29.00", timeout=30_000)
    assert subscription(hung, item).status == "active"


def test_a_subscription_is_cancelled_and_kept_by_keyboard(hung: Hung) -> None:
    item = hung.town.subscribe()
    page = hung.town.page(width=390)
    page.goto(hung.town.at(item, "/cancellation"))
    tab(page, "input[name=when]:checked")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("button", name="Cancel now")).to_be_visible()
    page.keyboard.press("ArrowUp")
    tab(page, "select[name=feedback]")
    tab(page, "textarea")
    tab(page, "form.decide button.main")
    page.keyboard.press("Enter")
    expect(page.locator(".now .state")).to_have_text("Ending")
    tab(page, ".slip button.main")
    page.keyboard.press("Enter")
    expect(page.locator(".now .state")).to_have_text("Active")
    assert not subscription(hung, item).cancel_at_period_end


# --- without scripts
def test_payments_work_without_scripts(hung: Hung) -> None:
    item = held(hung.town)
    page = hung.town.page(width=390, scripts=False)
    page.goto(hung.town.at(item, "/payment-method"))
    page.get_by_label("Another card or method").check()
    page.get_by_role("button", name="Pay €29.00").click()
    type_card(page, GOOD)
    expect(page.get_by_role("heading", level=1)).to_have_text("Paid: €29.00", timeout=30_000)
    page.goto("/payment-methods")
    page.get_by_text("Add payment method", exact=True).first.click()
    if page.get_by_label("Which business can save it?").is_visible():
        page.get_by_label("Which business can save it?").select_option(label="Acorn Notes")
        page.get_by_role("button", name="Enter a card or account").click()
    type_card(page, "5555 5555 5555 4444")
    expect(page.get_by_role("heading", level=1)).to_have_text("Card saved", timeout=30_000)
    page.goto("/payment-methods")
    row = page.locator("section", has_text="Mastercard ending 4444").locator("li.row").first
    row.locator("summary").click()
    row.get_by_text("Remove").first.click()
    page.get_by_role("button", name="Remove Mastercard ending 4444").click()
    expect(page.get_by_text("Mastercard ending 4444").filter(visible=True)).to_have_count(1)  # only the sentence that says it is gone


def test_subscription_actions_work_without_scripts(hung: Hung) -> None:
    item = hung.town.subscribe()
    page = hung.town.page(width=390, scripts=False)
    page.goto(hung.town.at(item, "/plan-change"))
    page.get_by_label(re.compile("Acorn Max")).check()
    page.get_by_role("button", name="Review the price").click()
    page.get_by_role("button", name=re.compile(r"^Pay .* and change$")).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Acorn Max")
    page.goto(hung.town.at(item, "/billing-details"))
    page.get_by_label("City").fill("Bristol")
    page.get_by_role("button", name="Save billing details").click()
    expect(page.get_by_text("Bristol").first).to_be_visible()
    page.goto(hung.town.at(item, "/pause"))
    page.get_by_role("button", name="Pause subscription").click()
    assert subscription(hung, item).status == "paused"
    page.goto(hung.town.at(item, "/pause"))
    page.get_by_role("button", name="Resume subscription").click()
    assert subscription(hung, item).status == "active"
    page.goto(hung.town.at(item, "/cancellation"))
    page.get_by_label("Now", exact=False).last.check()
    page.get_by_role("button", name="Cancel now").click()
    expect(page.locator(".now .state")).to_have_text("Cancelled")
    assert subscription(hung, item).status == "cancelled"
