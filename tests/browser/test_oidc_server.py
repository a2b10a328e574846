"""An app of Acorn signs Ada in, in a real browser. The sign-in and consent forms may redirect to the app's origin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Page, expect

from auth.oidc_server import apps
from auth.oidc_server.apps import AppForm
from core.scope import system
from core.services import Services
from core.settings import Settings
from tests.browser.conftest import axe, by_email, sign_in
from tests.cast import Cast
from tests.providers.party import Party

pytestmark = pytest.mark.browser


@pytest.fixture
def host() -> str:
    """Another site than the app's 127.0.0.1."""
    return "localhost"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, outgoing_loopback=True)


@pytest.fixture
def party(served: Services, played: Cast) -> Iterator[Party]:
    item = Party()
    back = f"http://127.0.0.1:{item.port}"
    with served.worker.around(), served.database.open(system(played.acorn), write=True) as db:
        row, secret = apps.add(
            db, served.settings, served.outgoing, played.acorn, AppForm("Notes", f"{back}/in", f"{back}/bye", f"{back}/notes"), public=False
        )
    item("discover", app="notes", issuer=served.settings.base_url, client_id=row.id, secret=secret, how="basic", redirect_uri=f"{back}/in")
    yield item
    item.stop()


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_an_app_signs_a_customer_in(served: Services, played: Cast, party: Party, person: Callable[..., Page]) -> None:
    page = person(scripts=False, width=390)
    page.goto(party("url", app="notes", scope="openid profile email"))
    by_email(page, played.ADA)
    expect(page.get_by_role("heading", name="Sign in to Notes?")).to_be_visible()
    assert axe_of(person, page) == []
    page.get_by_role("button", name="Allow and continue").click()
    page.wait_for_url(f"http://127.0.0.1:{party.port}/in?*")
    first = party("callback", app="notes", url=page.url)

    # signed out and in again: what she allowed is remembered, and the sign-in form leads on to the app by a page between
    page.goto(party("end", app="notes", id_token=first["id_token"], after=f"http://127.0.0.1:{party.port}/bye"))
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"http://127.0.0.1:{party.port}/bye*")
    page.goto(party("url", app="notes", scope="openid email"))
    by_email(page, played.ADA)
    page.wait_for_url(f"http://127.0.0.1:{party.port}/in?*")
    assert party("callback", app="notes", url=page.url)["claims"]["sub"] == first["claims"]["sub"]

    # a person who is no customer there gets an error
    ben = person()
    sign_in(ben, played.BEN)
    ben.goto(party("url", app="notes", scope="openid"))
    expect(ben.get_by_role("heading", name="You are not a customer of Acorn Notes")).to_be_visible()
    ben.get_by_role("button", name="Back to Notes").click()
    ben.wait_for_url("**error=access_denied*")


def axe_of(person: Callable[..., Page], page: Page) -> list[str]:
    """Return the accessibility faults of a page, checked in a browser with scripts."""
    looking = person(width=390)
    looking.context.add_cookies(page.context.cookies())
    looking.goto(page.url)
    return axe(looking)
