"""A first visit in a real browser: enter the address, read the email, see all purchases, open a document, visit a business."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from core.services import Services
from tests.browser.conftest import axe, sign_in
from tests.cast import Cast
from tests.conftest import on_sqlite

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
def test_one_sign_in_shows_the_purchases_of_every_business(
    served: Services, played: Cast, person: Callable[..., Page], scripts: bool
) -> None:
    page = person(scripts=scripts)
    sign_in(page, played.ADA)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    for words in ("Acorn Team", "Birch Team", "Acorn for desktop", "ACO-0001", "BIR-0001"):
        expect(page.get_by_text(words).first).to_be_visible()
    assert "Ben Hill" not in page.content()

    link = page.get_by_role("link", name="ACO-0001").first.get_attribute("href")
    assert link
    pdf = page.request.get(link)
    assert pdf.ok and pdf.headers["content-type"] == "application/pdf" and pdf.body().startswith(b"%PDF-")

    page.goto(f"/business/{played.acorn}/")
    assert "Birch" not in page.locator("main").inner_text()
    page.locator("footer").get_by_role("link", name="all businesses").click()
    expect(page.get_by_text("Birch Team").first).to_be_visible()


def test_the_code_signs_in_the_browser_that_requested_it(served: Services, played: Cast, person: Callable[..., Page]) -> None:
    page = person(scripts=False)
    page.goto("/login")
    page.get_by_label("Email address").fill(played.BEN)
    page.keyboard.press("Enter")
    page.wait_for_url("**/login/sent*")
    import re
    import time

    from sqlalchemy import select

    from core.mailbox import MailboxEmail
    from core.scope import everything

    code = None
    for _ in range(60):
        with served.database.open(everything("read the test mailbox")) as db:
            message = db.scalar(select(MailboxEmail).where(MailboxEmail.to == played.BEN, MailboxEmail.subject.contains("sign-in")))
        if message and (code := re.search(r"\b([2-9A-HJ-NP-Z]{4}[ -]?[2-9A-HJ-NP-Z]{4})\b", message.text)):
            break
        time.sleep(0.2)
    assert code
    page.locator("input[autocomplete=one-time-code]").fill(code.group(1).lower())
    page.keyboard.press("Enter")
    expect(page.get_by_text("Birch Team").first).to_be_visible()
    assert "Acorn" not in page.locator("main").inner_text()


@on_sqlite
def test_cancel_and_keep_by_keyboard_without_scripts(served: Services, played: Cast, person: Callable[..., Page]) -> None:
    page = person(scripts=False)
    sign_in(page, played.ADA)
    page.goto(f"/subscriptions/{played.ada_at_acorn.subscription_id}/cancellation")
    page.locator("main form button.main").focus()
    with page.expect_navigation():
        page.keyboard.press("Enter")
    page.goto(f"/subscriptions/{played.ada_at_acorn.subscription_id}")
    expect(page.locator(".now .state")).to_have_text("Ending")
    page.get_by_role("button", name="Keep subscription").first.focus()
    with page.expect_navigation():
        page.keyboard.press("Enter")
    page.goto(f"/subscriptions/{played.ada_at_acorn.subscription_id}")
    expect(page.locator(".now .state")).to_have_text("Active")


@on_sqlite
def test_no_page_has_a_serious_accessibility_fault(served: Services, played: Cast, person: Callable[..., Page]) -> None:
    page = person()
    faults: dict[str, list[str]] = {}

    def visit(path: str) -> None:
        page.goto(path)
        if found := axe(page):
            faults[path] = found

    for path in ("/login", f"/login/{played.acorn}", "/login/bus_unknown", "/login/link/gone", "/session/gone", "/mailbox", "/nowhere"):
        visit(path)
    sign_in(page, played.ADA)
    at_acorn = played.ada_at_acorn
    pages = [
        "",
        "subscriptions",
        f"subscriptions/{at_acorn.subscription_id}",
        f"subscriptions/{at_acorn.subscription_id}/cancellation",
        "purchases",
        f"purchases/{at_acorn.purchase_id}",
        "billing-history",
        "payment-methods",
        "license-keys",
        "profile",
        "search?q=acorn",
        "search?q=nothing-like-it",
        *(f"subscriptions/{at_acorn.subscription_id}/{act}" for act in ("payment-method", "plan-change", "pause", "billing-details")),
    ]
    for door in ("/", f"/business/{played.acorn}/"):
        for path in pages:
            visit(door + path)
        page.goto(door + "billing-history")
        invoice = page.locator("a[href*='/invoices/']").first.get_attribute("href") or ""
        visit(invoice.removesuffix(".pdf"))
    assert not faults, "\n".join(f"{path}\n  " + "\n  ".join(found) for path, found in faults.items())
