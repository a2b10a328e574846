"""Account pages have no serious accessibility fault in any language and fit a phone.

Contrast is checked in English only, because it does not depend on the text.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from core import i18n
from core.services import Services
from tests.browser.conftest import axe, sign_in
from tests.cast import Cast
from tests.conftest import on_sqlite

pytestmark = pytest.mark.browser
BEFORE = ("/login", "/login/recovery", "/login?again=1")
PAGES = (
    "/profile",
    "/profile/addresses",
    "/profile/passkeys",
    "/profile/providers",
    "/profile/email",
    "/profile/export",
    "/profile/closing",
    "/profile/apps",
    "/activity",
)


@pytest.fixture
def host() -> str:
    """A host name, because browsers store passkeys only for names."""
    return "localhost"


@on_sqlite
def test_account_pages_are_accessible_and_fit_a_phone(served: Services, played: Cast, person: Callable[..., Page]) -> None:
    page = person(width=390)
    found: list[str] = []

    def look(path: str, language: str) -> None:
        answer = page.goto(path)
        assert answer and answer.status == 200, f"{path}: {answer and answer.status}"
        assert (page.locator("html").get_attribute("lang") or "").replace("-", "_") == language, path
        found.extend(f"{path} {language}: {fault}" for fault in axe(page, contrast=None if language == "en" else False))
        if (width := page.evaluate("document.documentElement.scrollWidth")) > 390:
            found.append(f"{path} {language}: {width} px wide")

    for language in i18n.supported():
        page.goto("/login")
        page.locator(f"form[action*=language] button[value='{language}']").click()
        for path in BEFORE:
            look(path, language)
    page.locator("form[action*=language] button[value='en']").click()
    sign_in(page, played.ADA)
    for language in i18n.supported():
        page.goto("/profile")
        page.locator(f"form[action*=language] button[value='{language}']").click()
        for path in PAGES:
            look(path, language)
    assert found == []
