"""The console in a browser: the header stays in place, the phone's menu is one row, tables and buttons keep their distances, and the
brand preview has the styles of the real page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from core.scope import system
from tenants.memberships import invite
from tests import unpaid_renewals
from tests.browser.conftest import axe
from tests.browser.served_portal import Town, built
from tests.browser.test_layouts import SAM, staff

pytestmark = pytest.mark.browser

# Distances in the column of the page: nothing to its right, no control within 8 px of a table, no button over half of it, figures aligned
FAULTS = """() => {
  const faults = [], phone = innerWidth < 768
  const seen = e => e.getClientRects().length && e.checkVisibility({visibilityProperty: true}) && !e.closest('.vh, .menu > ul')
  const box = e => e.getBoundingClientRect(), name = e => e.textContent.trim().slice(0, 30) || e.outerHTML.slice(0, 60)
  const column = document.querySelector('.console > div'), right = box(column).right
  if (document.documentElement.scrollWidth > innerWidth) faults.push(`${document.documentElement.scrollWidth} px wide`)
  for (const e of column.querySelectorAll('.btn, summary, input, select, table, .note, .slip, h1'))
    if (seen(e) && box(e).right > right + 1) faults.push(`${name(e)} is ${Math.round(box(e).right - right)} px outside`)
  for (const e of column.querySelectorAll('.btn:not(.wide)'))
    if (seen(e) && !phone && !e.closest('.slip') && box(e).width > box(column).width / 2)
      faults.push(`${name(e)} is ${box(e).width} px wide`)
  for (const table of column.querySelectorAll('table.ledger')) {
    const head = table.tHead, first = head && !phone ? head : table.tBodies[0]
    if (!seen(table) || !first) continue
    for (const e of column.querySelectorAll('.btn, .chips a, .note, input, select')) {
      const gap = box(first).top - box(e).bottom
      if (seen(e) && !table.contains(e) && gap > -2 && gap < 8) faults.push(`${name(e)} is ${gap} px above a table`)
    }
    if (phone) continue
    for (const row of table.tBodies[0].rows) [...row.cells].forEach((cell, i) => {
      const text = cell.textContent.trim(), align = getComputedStyle(cell).textAlign
      if (/^[-–−]?[€£$¥]?[\\d.,]+( ?[%€])?$/.test(text) && align !== 'end') faults.push(`${text} is not at the end of its column`)
      if (head && align !== getComputedStyle(head.rows[0].cells[i]).textAlign)
        faults.push(`${name(head.rows[0].cells[i])}: head and cells differ`)
    })
  }
  return [...new Set(faults)]
}"""
PLACES = """() => [...document.querySelectorAll('header.top .home, header.top .who, .console > .nav, h1')].map(e => {
  const box = e.getBoundingClientRect()
  return e.matches('h1') ? ['h1', box.x, box.y] : [e.className, box.x, box.y, box.width]
})"""
# part → its selector in the preview and in the portal; the styles that must be equal
PARTS = (
    ("html", "html"),
    ("body", "body"),
    ("masthead", "header.top-brand"),
    ("name", "header .home"),
    ("account menu", "header .who > summary"),
    ("navigation", "nav.nav a[aria-current]"),
    ("other page", "nav.nav a:not([aria-current])"),
    ("heading", "h1"),
    ("to do", ".slip.needs"),
    ("filled button", ".slip.needs .btn.main"),
    ("section", ".sec-head h2"),
    ("link", ".sec-head a"),
    ("row", "li.row h3 a"),
    ("mark", "li.row .mark"),
    ("menu button", "li.row .act summary"),
    ("price", "li.row .price strong"),
)
STYLES = """selector => {
  const e = document.querySelector(selector)
  if (!e) return null
  const style = getComputedStyle(e), out = {}
  for (const name of ['color', 'background-color', 'font-family', 'font-size', 'font-weight', 'line-height', 'border-radius',
    'border-top-color', 'border-bottom-color', 'border-bottom-width', 'padding-left', 'padding-top', 'text-decoration-line',
    '--brand', '--on-brand', '--brand-edge', '--link', '--radius', '--font'])
    out[name] = style.getPropertyValue(name)
  return out
}"""


@pytest.fixture(scope="module")
def town(sqlite: Any, tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Town]:
    with built(sqlite, tmp_path_factory.mktemp("console"), browser) as town:
        town.signed_in()
        unpaid_renewals.hold(town.cast, town.subscribe())
        with town.services.database.open(system(town.cast.acorn), write=True) as db:
            invite(db, town.cast.acorn, SAM, "owner")
        yield town


def paths(town: Town) -> list[str]:
    ada = town.cast.ada_at_acorn
    return [
        f"/console/{ada.business_id}{path}"
        for path in (
            "",
            "/sales/customers",
            f"/sales/customers/{ada.customer_id}",
            "/sales/customers/new",
            "/sales/invite",
            "/sales/subscriptions",
            f"/sales/subscriptions/{ada.subscription_id}",
            "/sales/payments",
            f"/sales/payments/{ada.payment_id}",
            "/sales/refunds",
            "/products",
            "/addons/new",
            "/collections",
            "/settings",
            "/brand",
            "/developers/keys",
            "/developers/webhooks",
            "/developers/webhooks/deliveries",
            "/developers/events",
            "/team",
            "/activity",
        )
    ]


def window(town: Town, width: int, scheme: str = "light") -> Page:
    page = staff(town)
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    return page


@pytest.mark.parametrize("width", [390, 1280])
def test_pages_keep_their_header_and_their_distances(town: Town, width: int) -> None:
    page, wrong, places = window(town, width), [], {}
    for path in paths(town):
        page.goto(path)
        places[path] = page.evaluate(PLACES)
        wrong += [f"{path}: {item}" for item in page.evaluate(FAULTS)]
        wrong += [f"{path}: {item}" for item in axe(page)]
        page.emulate_media(color_scheme="dark")
        wrong += [f"{path}, dark: {item}" for item in axe(page, contrast=True)]
        page.emulate_media(color_scheme="light")
    town.close_windows()
    first = next(iter(places.values()))
    wrong += [f"{path}: {place} instead of {first}" for path, place in places.items() if place != first]
    assert not wrong, "\n".join(wrong)


def test_the_menu_of_a_phone_is_one_row_and_works_by_keyboard(town: Town) -> None:
    page = window(town, 390)
    page.goto(f"/console/{town.cast.acorn}/sales/customers")
    menu = page.get_by_role("navigation", name="Console")
    assert menu.bounding_box()["height"] < 50  # type: ignore[index]
    expect(menu.get_by_role("link", name="Brand")).to_be_hidden()
    menu.locator("summary").focus()
    page.keyboard.press("Enter")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == "Brand":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Brand")
    assert menu.bounding_box()["height"] < 50  # type: ignore[index]
    page.set_viewport_size({"width": 1280, "height": 900})
    expect(menu.get_by_role("link", name="Customers")).to_be_visible()
    expect(menu.locator("summary")).to_be_hidden()
    town.close_windows()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_brand_preview_has_the_styles_of_the_portal(town: Town, scheme: str) -> None:
    page = window(town, 1280, scheme)
    page.goto(f"/console/{town.cast.acorn}/brand")
    frame = next(item for item in page.frames if f"scheme={scheme}" in item.url)
    frame.wait_for_selector("h1")
    preview = {name: frame.evaluate(STYLES, selector) for name, selector in PARTS}
    frame_width = int(frame.evaluate("innerWidth"))
    portal = town.page(width=frame_width, color_scheme=scheme)
    portal.goto(f"/business/{town.cast.acorn}/")
    real = {name: portal.evaluate(STYLES, selector) for name, selector in PARTS}
    town.close_windows()
    assert all(real.values()) and all(preview.values()), [name for name in real if not (real[name] and preview[name])]
    differences = {
        f"{name} {style}": (value, real[name][style])
        for name, styles in preview.items()
        for style, value in styles.items()
        if value != real[name][style]
    }
    assert not differences
