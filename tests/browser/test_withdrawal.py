"""Withdraw in a real browser without JavaScript: three clicks from the overview, on a phone, without accessibility faults."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from billing.model.payments import Refund
from billing.model.subscriptions import Subscription
from billing.rights.table import cancel_labels, withdraw_labels
from core.scope import everything
from core.services import Services
from tests.browser.conftest import axe, sign_in
from tests.cast import Cast
from tests.conftest import on_sqlite

pytestmark = pytest.mark.browser


@on_sqlite
def test_three_clicks_without_scripts(served: Services, played: Cast, person: Callable[..., Page]) -> None:
    page = person(scripts=False, width=390)
    sign_in(page, played.ADA)
    page.goto("/")
    page.locator(f"a[href='/subscriptions/{played.ada_at_birch.subscription_id}/withdrawal']").click()
    expect(page.get_by_text("You can withdraw until")).to_be_visible()
    total = page.locator("form .total .amt").inner_text()
    page.get_by_role("button", name="Confirm withdrawal").click()
    expect(page.get_by_text("You withdrew from Birch Team")).to_be_visible()
    expect(page.get_by_text(f"Refund: {total}.")).to_be_visible()
    with served.database.open(everything("what the clicks did")) as db:
        assert len(db.scalars(select(Refund)).all()) == 1
        assert db.scalar(select(Subscription.status).where(Subscription.id == played.ada_at_birch.subscription_id)) == "cancelled"


@on_sqlite
def test_the_pages_are_accessible_and_fit_a_phone(served: Services, played: Cast, person: Callable[..., Page]) -> None:
    page = person(width=390)
    sign_in(page, played.ADA)
    found: list[str] = []
    for path in (
        f"/subscriptions/{played.ada_at_birch.subscription_id}/withdrawal", f"/purchases/{played.ada_at_birch.purchase_id}/withdrawal",
        f"/subscriptions/{played.ada_at_birch.subscription_id}", "/", "/withdraw", f"/withdraw/{played.birch}",
    ):  # fmt: skip
        answer = page.goto(path)
        assert answer and answer.status == 200, path
        found.extend(f"{path}: {fault}" for fault in axe(page))
        if (width := page.evaluate("document.documentElement.scrollWidth")) > 390:
            found.append(f"{path}: {width} px wide")
    assert not found, "\n".join(found)


@on_sqlite
@pytest.mark.parametrize("language", ["en", "de", "it", "pt-BR", "sv"])
def test_cancelling_and_withdrawing_without_signing_in_in_each_language(
    served: Services, played: Cast, person: Callable[..., Page], language: str
) -> None:
    """One page each: a screen reader finds every field by its label and the button by the words of the law. axe needs scripts."""
    page = person(width=390)
    page.set_extra_http_headers({"Accept-Language": language})
    for path, labels in ((f"/cancel/{played.birch}", cancel_labels), (f"/withdraw/{played.birch}", withdraw_labels)):
        page.goto(path)
        assert page.locator("html").get_attribute("lang") == language
        tree = page.locator("main").aria_snapshot()
        wanted = labels(language.replace("-", "_"), None)[0]
        assert f'heading "{wanted.first}" [level=1]' in tree and f'button "{wanted.second}"' in tree, tree
        assert tree.count("textbox") >= 3 and "textbox:" not in tree, "every field has a name"
        assert axe(page) == [], (path, language)
    page.locator("input[name=name]").fill("Ada Marlow")
    page.locator("input[name=email]").fill(played.ADA)
    page.locator("input[name=contract]").fill(played.ada_at_birch.subscription_id or "")
    page.locator("form button[type=submit]").first.click()
    expect(page.locator("h1")).to_be_visible()
    assert "/statements/" in page.url and axe(page) == []
