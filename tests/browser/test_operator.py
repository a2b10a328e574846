"""The operator's page in a browser: without scripts, by keyboard, on a phone and on a desktop, and accessible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import axe
from tests.cast import Cast
from tests.conftest import on_sqlite
from tests.stories.operators import SECRET, actions, failed_work, with_secret

pytestmark = on_sqlite


@pytest.mark.parametrize("width", [360, 1280])
def test_an_operator_sets_work_aside_by_keyboard_without_scripts(played: Cast, person: Callable[..., Page], width: int) -> None:
    with_secret(played.services)
    id = failed_work(played)
    page = person(scripts=False, width=width)
    page.goto("/operator")
    fits(page, width)
    page.get_by_label("Operator secret").focus()
    page.keyboard.type(SECRET)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    fits(page, width)
    expect(page.get_by_text("One item of work failed permanently.").first).to_be_visible()
    page.goto(f"/operator/work/{id}")
    fits(page, width)
    page.get_by_label("Reason").focus()
    page.keyboard.type("The business closed")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("The work is set aside and no longer tried.")
    assert [action[:3] for action in actions(played.services, "signed_in")] == [("set_aside", id, "The business closed")]


def test_the_operators_pages_have_no_accessibility_faults(played: Cast, person: Callable[..., Page]) -> None:
    with_secret(played.services)
    id = failed_work(played)
    page = person(width=1280)
    page.goto("/operator")
    faults: list[Any] = axe(page)
    page.get_by_label("Operator secret").fill(SECRET)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    for path in ("", "/work", f"/work/{id}", "/emails", "/actions"):
        page.goto(f"/operator{path}")
        faults += axe(page)
    assert not faults


def fits(page: Page, width: int) -> None:
    page.wait_for_load_state()  # after a click, a heading can be there before the style sheet is
    assert page.evaluate("document.documentElement.scrollWidth") <= width
