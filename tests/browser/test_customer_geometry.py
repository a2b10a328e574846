"""The customer pages keep one left edge, one right edge and even gaps; what is said by shape and place holds in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from billing.customers.customers import create_customer
from billing.model.invoices import Invoice
from billing.subscriptions.cancel import cancel_at_period_end
from billing.subscriptions.pause import pause
from core.scope import system
from tests import unpaid_renewals
from tests.browser.conftest import axe, sign_in
from tests.browser.served_portal import Town, built

pytestmark = pytest.mark.browser

WIDTHS = (390, 640, 800, 1280)
FAULTS = r"""() => {
  const faults = [], main = document.querySelector('main > .wrap'), room = main.getBoundingClientRect(), style = getComputedStyle(main)
  const left = room.left + parseFloat(style.paddingLeft), right = room.right - parseFloat(style.paddingRight)
  const seen = e => e.getClientRects().length && e.checkVisibility({visibilityProperty: true}) && !e.closest('.vh, .menu > ul')
  const all = (selector, inside = main) => [...inside.querySelectorAll(selector)].filter(seen)
  const box = e => e.getBoundingClientRect()
  const html = e => e.outerHTML.replace(/\s+/g, ' ').slice(0, 90)
  const mirrored = document.dir === 'rtl', start = e => mirrored ? right - box(e).right : box(e).left - left
  const end = e => mirrored ? left - box(e).left : box(e).right - right
  for (const e of all('.btn, summary, .amt, td, th, p, dd'))  // the box of a plain link begins before its text
    if (end(e) > 1 || start(e) < -9) faults.push(`beyond the edge: ${html(e)}`)
  for (const e of all('.btn')) if (box(e).width > 401) faults.push(`a button ${Math.round(box(e).width)} px wide: ${html(e)}`)
  for (const head of all('thead')) for (const e of all('.btn', head.parentElement))
    if (box(head).height > 3 && box(e).top - box(head).bottom < 14) faults.push(`touches the head of the table: ${html(e)}`)
  for (const e of all('.slip, form.stack')) {
    const first = all(':scope > *', e).find(child => box(child).height > 0), top = parseFloat(getComputedStyle(e).paddingTop)
    if (first && box(first).top - box(e).top - top > 2) faults.push(`a gap above the first row: ${html(e)}`)
  }
  for (const e of all(':scope > *'))
    if (Math.abs(start(e)) > 1.5) faults.push(`${Math.round(start(e))} px from the edge of the breadcrumb: ${html(e)}`)
  return [...new Set(faults)]
}"""


@pytest.fixture(scope="module")
def town(sqlite: Any, tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Town]:
    with built(sqlite, tmp_path_factory.mktemp("geometry"), browser) as town:
        town.signed_in()
        ending, town.paused, town.held = (town.subscribe() for _ in range(3))  # type: ignore[attr-defined]
        with town.services.database.open(unpaid_renewals.scope_of(ending), write=True) as db:
            cancel_at_period_end(db, ending.subscription_id)
            pause(db, town.paused.subscription_id)  # type: ignore[attr-defined]
            renewed = select(Invoice.id).where(Invoice.status == "paid", Invoice.starts_at.is_not(None))
            town.invoice = db.scalars(renewed).first()  # type: ignore[attr-defined]
        yield town


@pytest.fixture
def page(town: Town) -> Iterator[Page]:
    yield town.page()
    town.close_windows()


def paths(town: Town) -> list[str]:
    ada = town.cast.ada_at_acorn
    of = f"/subscriptions/{ada.subscription_id}"
    acts = ("", "/plan-change", "/payment-method", "/cancellation", "/pause", "/billing-details")
    own = ("", "subscriptions", "purchases", "billing-history", "payment-methods", "license-keys", "profile", "profile/addresses")
    payment = f"/payments/{ada.payment_id}"
    removal = f"/payment-methods/{ada.method_id}/removal"
    door = f"/business/{ada.business_id}/"
    resume = town.at(town.paused, "/pause")  # type: ignore[attr-defined]
    invoice = f"/invoices/{town.invoice}"  # type: ignore[attr-defined]
    return [*("/" + path for path in own), *(of + act for act in acts), invoice, payment, removal, resume, door]


@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_edges_and_gaps_of_customer_pages(town: Town, page: Page, direction: str) -> None:
    """From right to left, the pages are the same, mirrored; the language stays English, because none of ours is written so."""
    wrong = []
    for path in paths(town):
        answer = page.goto(path)
        assert answer and answer.status == 200, path
        page.evaluate("direction => { document.dir = direction }", direction)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            wrong += [f"{path} at {width}: {item}" for item in page.evaluate(FAULTS)]
    assert not wrong, "\n".join(wrong)


def test_the_most_likely_action_needs_no_scrolling_on_a_phone(town: Town) -> None:
    """An iPhone's window with the bars of its browser: 390 × 664."""
    page = town.page(width=390)
    page.set_viewport_size({"width": 390, "height": 664})
    for path in (town.at(town.cast.ada_at_acorn), town.at(town.paused)):  # type: ignore[attr-defined]
        page.goto(path)
        expect(page.locator(".slip.now .btn").first).to_be_in_viewport(ratio=1)
    town.close_windows()


def test_invoice_labels_stay_on_one_line_when_the_period_wraps(town: Town, page: Page) -> None:
    page.set_viewport_size({"width": 800, "height": 900})
    page.goto(f"/invoices/{town.invoice}")  # type: ignore[attr-defined]
    page.locator("dd", has_text=" to ").first.evaluate(
        "e => { e.textContent = '30 September 2026 to 29 October 2026, and longer still '.repeat(3) }"
    )
    tops = page.locator("article .pair").first.locator("dt").evaluate_all("found => found.map(e => e.getBoundingClientRect().top)")
    assert len(tops) == 2 and abs(tops[0] - tops[1]) < 1


def test_the_person_stays_upright_when_the_account_menu_opens(page: Page) -> None:
    page.goto("/")
    page.emulate_media(reduced_motion="reduce")
    page.locator(".who > summary").click()
    turned = page.locator(".who > summary .icon").evaluate_all("found => found.map(e => getComputedStyle(e).rotate)")
    assert turned == ["none", "180deg"]


def test_renewals_of_one_day_share_a_mark_with_their_count(town: Town, page: Page) -> None:
    town.subscribe()  # Acorn has three renewals of one day then, whatever day it is at Birch, in another time zone
    page.goto("/")
    ruler = page.locator(".ruler")
    days = ruler.locator("i:has(.mark)")
    marks = days.evaluate_all("found => found.map(e => [e.querySelectorAll('.mark').length, e.querySelector('.count')?.textContent])")
    counts = [int(text or 1) for _count, text in marks]
    assert marks and all(count == 1 for count, _text in marks) and max(counts) >= 3, marks
    label = ruler.get_attribute("aria-label") or ""
    assert ruler.get_attribute("role") == "img" and label.startswith("Renewals in the next 60 days:")
    assert f"({max(counts)})" in label


def test_the_history_opens_without_scripts(town: Town) -> None:
    page = town.page(scripts=False)
    page.goto(town.at(town.cast.ada_at_acorn))
    expect(page.locator(".story").first).to_be_hidden()
    page.locator(".sec-fold > summary").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".story").first).to_be_visible()
    town.close_windows()


def test_dates_of_another_year_have_their_year_in_one_column(town: Town, page: Page) -> None:
    """With a date in sight that is as long as they get, the names still begin on one line."""
    page.goto("/")
    times = page.locator(".next").first.locator("time")
    times.first.evaluate("e => { e.textContent = 'Wed 30 Sept 2027' }")
    starts = (
        page.locator(".next").first.locator(".what").evaluate_all("found => found.map(e => Math.round(e.getBoundingClientRect().left))")
    )
    assert len(starts) > 1 and len(set(starts)) == 1, starts


def test_the_welcome_page_is_for_everybody(town: Town) -> None:
    nia = "nia@newman.example"
    with town.services.database.open(system(town.cast.acorn), write=True) as db:
        create_customer(db, town.cast.acorn, email=nia, name="Nia Newman")
    page = town.page("", width=390, scripts=False)
    sign_in(page, nia)
    page.get_by_role("button", name="Show this business").click()
    state = page.context.storage_state()
    town.close_windows()
    page = town.page("", width=390)
    page.context.add_cookies(state["cookies"])
    for path in ("/", f"/business/{town.cast.acorn}/"):
        page.goto(path)
        expect(page.get_by_role("heading", level=1)).to_have_text("Welcome, Nia")
        faults = axe(page)
        page.emulate_media(color_scheme="dark")
        faults += axe(page, contrast=True)
        page.emulate_media(color_scheme="light")
        assert not faults and page.evaluate("document.documentElement.scrollWidth") <= 390, faults
    town.close_windows()
