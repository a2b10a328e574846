"""Every page at common widths: nothing is wider than the window, and no button covers an amount, even with long names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from sqlalchemy import select

from auth.models import IdentityEmail
from billing.model.catalogue import Product
from billing.model.parties import Business, Customer
from billing.subscriptions.cancel import cancel_at_period_end
from core import clock
from core.scope import everything, system
from tenants.memberships import invite
from tests import unpaid_renewals
from tests.browser.conftest import sign_in
from tests.browser.served_portal import Town, built

pytestmark = pytest.mark.browser

WIDTHS = (320, 390, 768, 900, 1024, 1280, 1920)
SAM = "sam@acorn.example"
LONG = "Unternehmensverwaltungssoftwarelizenz"
FAULTS = """() => {
  const faults = [], wide = document.documentElement.scrollWidth, room = document.documentElement.clientWidth
  if (wide > room) {
    const worst = [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > room + 1).pop()
    faults.push(`${wide} px wide: ${worst ? worst.outerHTML.slice(0, 120) : ''}`)
  }
  const seen = (e) => e.getClientRects().length && e.checkVisibility({visibilityProperty: true}) && !e.closest('.vh, thead, .menu > ul')
  const box = (e) => e.getBoundingClientRect()
  for (const group of document.querySelectorAll('.row, tr, .facts > div, .lines > *, .total, .needs li, .head')) {
    const buttons = [...group.querySelectorAll('.btn, button, summary')].filter(seen)
    const amounts = [...group.querySelectorAll('.amt, .price strong, .price span, .state, h1, h3')].filter(seen)
    for (const b of buttons) for (const a of amounts) {
      if (a.contains(b) || b.contains(a)) continue
      const p = box(b), q = box(a)
      const x = Math.min(p.right, q.right) - Math.max(p.left, q.left), y = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top)
      if (x > 1 && y > 1) faults.push(`"${b.textContent.trim().slice(0, 30)}" lies over "${a.textContent.trim().slice(0, 30)}"`)
    }
  }
  return faults
}"""


@pytest.fixture(scope="module")
def town(sqlite: Any, tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Town]:
    with built(sqlite, tmp_path_factory.mktemp("layouts"), browser) as town:
        town.signed_in()
        ending, held = town.subscribe(), town.subscribe("acorn.more")
        unpaid_renewals.hold(town.cast, held)
        with town.services.database.open(system(town.cast.acorn), write=True) as db:
            cancel_at_period_end(db, ending.subscription_id)
            for row in db.scalars(select(Product)):
                row.name = f"{row.name} {LONG}"
            db.scalars(select(Business)).one().legal_name = f"{LONG} GmbH"
            db.scalars(select(Customer)).one().name = "عبدالرحمن-المستشارالقانوني Ada-Wilhelmina Marlow-Featherstonehaugh"
            invite(db, town.cast.acorn, SAM, "owner")
        with town.services.database.open(everything("a long second address"), write=True) as db:
            main = db.scalars(select(IdentityEmail).where(IdentityEmail.email_key == town.cast.ADA)).one()
            address = "ada-wilhelmina.marlow-featherstonehaugh@accounts.marlow-and-daughters.example"
            db.add(
                IdentityEmail(
                    identity_id=main.identity_id,
                    id="eml_second",
                    email=address,
                    email_key=address,
                    is_primary=False,
                    verified_at=clock.wall(),
                )
            )
        yield town


def staff(town: Town) -> Page:
    """Sam's window. He signs in once, because the next sign-in email would be sent 30 seconds later."""
    state = getattr(town, "sam", None)
    page = town.page("")
    if state is None:
        sign_in(page, SAM, "/login?next=/console")
        page.goto("/console")
        page.locator("form[action*='acceptance'] button").first.click()
        page.wait_for_load_state()
        town.sam = page.context.cookies()  # type: ignore[attr-defined]
    else:
        page.context.clear_cookies()
        page.context.add_cookies(state)
    return page


def faults(page: Page, town: Town, paths: list[str], language: str) -> list[str]:
    page.context.add_cookies([{"name": "lang", "value": language, "url": town.services.settings.base_url}])
    wrong = []
    for path in paths:
        answer = page.goto(path)
        assert answer and answer.status == 200, path
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            wrong += [f"{path} at {width}: {item}" for item in page.evaluate(FAULTS)]
    return wrong


@pytest.mark.parametrize("language", ["en", "de"])
def test_customer_pages_fit_every_width(town: Town, language: str) -> None:
    ada = town.cast.ada_at_acorn
    of = f"/subscriptions/{ada.subscription_id}"
    paths = [
        "/",
        "/subscriptions",
        of,
        f"{of}/plan-change",
        f"{of}/payment-method",
        f"{of}/cancellation",
        f"{of}/pause",
        f"{of}/billing-details",
        "/purchases",
        f"/purchases/{ada.purchase_id}",
        "/billing-history",
        "/payment-methods",
        "/license-keys",
        "/profile",
        "/profile/addresses",
        "/activity",
        "/search?q=acorn",
        f"/business/{ada.business_id}/",
    ]
    page = town.page()
    wrong = faults(page, town, paths, language)
    town.close_windows()
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("language", ["en", "de"])
def test_console_pages_fit_every_width(town: Town, language: str) -> None:
    ada = town.cast.ada_at_acorn
    page = staff(town)
    sales = f"/sales/subscriptions/{ada.subscription_id}"
    paths = [
        f"/console/{ada.business_id}{path}"
        for path in (
            "",
            "/sales/customers",
            f"/sales/customers/{ada.customer_id}",
            "/sales/subscriptions",
            sales,
            f"{sales}/plan-change",
            f"{sales}/cancellation",
            "/sales/payments",
            f"/sales/payments/{ada.payment_id}",
            "/products",
            f"/products/{town.cast.products['acorn.plan']}",
            "/products/new",
            "/collections",
            "/settings",
            "/settings/details",
            "/team",
            "/brand",
            "/developers/webhooks",
            "/activity",
        )
    ]
    wrong = faults(page, town, paths, language)
    town.close_windows()
    assert not wrong, "\n".join(wrong)
