"""An app of Acorn signs Ada in, in a real browser: the forms may end at the app's origin, whichever way they lead there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Page, expect

from auth.provider import apps
from auth.provider.apps import Wish
from core.scope import system
from core.settings import Settings
from core.web import House
from tests.browser.conftest import axe, by_letter, sign_in
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
def party(served: House, played: Cast) -> Iterator[Party]:
    one = Party()
    back = f"http://127.0.0.1:{one.port}"
    with served.worker.around(), served.database.open(system(played.acorn), write=True) as db:
        row, secret = apps.add(db, served.settings, served.outgoing, played.acorn,
                               Wish("Notes", f"{back}/in", f"{back}/bye", f"{back}/notes"), public=False)
    one("discover", app="notes", issuer=served.settings.base_url, client_id=row.id, secret=secret, how="basic", redirect_uri=f"{back}/in")
    yield one
    one.stop()


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_ada_and_an_app(served: House, played: Cast, party: Party, person: Callable[..., Page]) -> None:
    page = person(scripts=False, width=390)
    page.goto(party("url", app="notes", scope="openid profile email"))
    by_letter(page, played.ADA)
    expect(page.get_by_role("heading", name="Sign in to Notes?")).to_be_visible()
    assert axe_of(person, page) == []
    page.get_by_role("button", name="Allow and go on").click()
    page.wait_for_url(f"http://127.0.0.1:{party.port}/in?*")
    first = party("callback", app="notes", url=page.url)

    # signed out and in again: what she allowed is remembered, and the sign-in form leads on to the app by a page between
    page.goto(party("end", app="notes", id_token=first["id_token"], after=f"http://127.0.0.1:{party.port}/bye"))
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"http://127.0.0.1:{party.port}/bye*")
    page.goto(party("url", app="notes", scope="openid email"))
    by_letter(page, played.ADA)
    page.wait_for_url(f"http://127.0.0.1:{party.port}/in?*")
    assert party("callback", app="notes", url=page.url)["claims"]["sub"] == first["claims"]["sub"]

    # who is no customer there reads so
    ben = person()
    sign_in(ben, played.BEN)
    ben.goto(party("url", app="notes", scope="openid"))
    expect(ben.get_by_role("heading", name="Acorn Notes does not know you")).to_be_visible()
    ben.get_by_role("button", name="Back to Notes").click()
    ben.wait_for_url("**error=access_denied*")


def axe_of(person: Callable[..., Page], page: Page) -> list[str]:
    """The faults of a page, looked at by a browser with scripts."""
    looking = person(width=390)
    looking.context.add_cookies(page.context.cookies())
    looking.goto(page.url)
    return axe(looking)
