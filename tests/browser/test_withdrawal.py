"""Withdraw in a real browser without JavaScript: three clicks from the overview, on a phone, without accessibility faults."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from billing.model.payments import Refund
from billing.model.subscriptions import Subscription
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
