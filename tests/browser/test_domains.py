"""Two custom domains and the portal's own host in one real browser: one sign-in and one sign-out apply everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from auth.domains import verification
from core.scope import system
from core.services import Services
from tests.browser.conftest import axe, launch, sign_in
from tests.cast import Cast

pytestmark = pytest.mark.browser


@pytest.fixture
def host() -> str:
    return "localhost"


@pytest.fixture
def page(browser: Browser, served: Services) -> Iterator[Page]:
    """A browser that resolves every *.example to this machine."""
    item = launch(browser.browser_type, "--host-resolver-rules=MAP *.example 127.0.0.1")
    context = item.new_context(base_url=served.settings.base_url)
    context.set_default_timeout(15_000)
    yield context.new_page()
    item.close()


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_one_sign_in_and_one_sign_out_cover_every_domain(served: Services, played: Cast, page: Page) -> None:
    app = served.worker.around.__self__
    world = app.extensions["domains"]
    port = urlsplit(served.settings.base_url).port
    said: dict[str, list[str]] = {}
    world.resolve = lambda name: said.get(name, [])
    places = {}
    for name, business_id in (("acorn", played.acorn), ("birch", played.birch)):
        with served.database.open(system(business_id), write=True) as db:
            row = verification.add(db, served.settings, business_id, f"billing.{name}.example")
            said[world.record(row)[0]] = [world.record(row)[1]]
            assert world.has_record(row)
            verification.mark_verified(db, row.id)
        places[name] = f"http://billing.{name}.example:{port}/"

    # not signed in: the domain has no sign-in form and redirects to the portal's host and back
    page.goto(places["acorn"])
    assert urlsplit(page.url).netloc == f"localhost:{port}"
    sign_in(page, played.ADA, page.url)
    page.wait_for_url(f"{places['acorn']}business/**")
    expect(page.get_by_text("Acorn Team").first).to_be_visible()
    assert axe(page) == []
    page.goto(places["birch"])  # signed in without a form
    expect(page.get_by_text("Birch Team").first).to_be_visible()
    assert urlsplit(page.url).hostname == "billing.birch.example"
    page.goto("/")
    expect(page.get_by_text("Acorn Team").first).to_be_visible()
    expect(page.get_by_text("Birch Team").first).to_be_visible()

    # signed out at one of them
    page.goto(places["acorn"])
    page.locator("header details summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"http://localhost:{port}/login/**")
    for place in (places["acorn"], places["birch"], served.settings.base_url + "/"):
        page.goto(place)
        assert urlsplit(page.url).netloc == f"localhost:{port}" and urlsplit(page.url).path.startswith("/login"), place
        assert "Team" not in page.locator("main").inner_text()

    # an unverified host is not served
    assert page.goto(f"http://pay.acorn.example:{port}/").status == 421
