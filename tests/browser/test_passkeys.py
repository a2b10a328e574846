"""Passkeys with a real browser and its virtual authenticator: registration, sign-in without an email, and other origins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from auth import account_merge
from auth.models import Grant, IdentityEmail
from auth.passkeys import Passkey
from auth.sessions import Visit
from core import clock
from core.scope import everything
from core.services import Services
from tests.browser.conftest import axe, sign_in, told
from tests.cast import Cast
from tests.conftest import on_sqlite

pytestmark = pytest.mark.browser


@pytest.fixture
def host() -> str:
    """A host name, because browsers store passkeys only for names and not for IP addresses."""
    return "localhost"


def authenticator(page: Page) -> Any:
    debugger = page.context.new_cdp_session(page)
    debugger.send("WebAuthn.enable")
    item = debugger.send(
        "WebAuthn.addVirtualAuthenticator",
        {
            "options": {
                "protocol": "ctap2",
                "transport": "internal",
                "hasResidentKey": True,
                "hasUserVerification": True,
                "isUserVerified": True,
                "automaticPresenceSimulation": True,
            }
        },
    )
    return debugger, item["authenticatorId"]


@on_sqlite
def test_a_passkey_signs_in_without_an_email(served: Services, played: Cast, person: Callable[..., Page]) -> None:
    page = person()
    debugger, device = authenticator(page)
    sign_in(page, played.ADA)
    page.goto("/profile")
    page.get_by_role("link", name="Your passkeys").click()
    page.get_by_label("Name").fill("work computer")
    page.get_by_role("button", name="Add passkey").click()
    expect(page.get_by_text("Your passkey is ready")).to_be_visible()
    expect(page.get_by_role("rowheader", name="work computer")).to_be_visible()
    assert axe(page) == []
    assert told(served, "passkey was added") == [played.ADA]

    page.locator("header details summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login")
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url(served.settings.base_url + "/")
    expect(page.get_by_text("Birch Team").first).to_be_visible()
    page.goto(f"/business/{played.acorn}/")
    page.locator("header details summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Sign in with a passkey").click()  # the business's own door, its static link
    page.wait_for_url(f"**/business/{played.acorn}/")

    # an answer of the authenticator works once, and in no other browser
    credential = debugger.send("WebAuthn.getCredentials", {"authenticatorId": device})["credentials"][0]
    assert credential["rpId"] == "localhost"
    other = person()
    replayed: list[str] = []
    page.goto("/")
    page.locator("header details summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.on("request", lambda asked: replayed.append(asked.post_data or "") if asked.url.endswith("/login/passkey") else None)
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url(served.settings.base_url + "/")
    other.goto("/login")
    other.evaluate(
        """sent => { const form = document.querySelector("form[data-passkey]");
        form.elements.credential.value = new URLSearchParams(sent).get("credential"); form.submit(); }""",
        replayed[0],
    )
    expect(other.get_by_text("does not belong to an account here")).to_be_visible()

    # a removed passkey is refused; sign-in by email still works
    with served.database.open(everything("by which passkey")) as db:
        opened = db.scalars(select(Grant.passkey_id).where(Grant.sign_in_method == "passkey")).all()
        assert len(opened) > 2 and set(opened) == {db.scalars(select(Passkey.id)).one()}
    page.goto("/profile/passkeys")
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("Passkey removed.")).to_be_visible()
    page.locator("header details summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_text("does not belong to an account here")).to_be_visible()


@on_sqlite
def test_a_passkey_of_another_origin_is_refused(served: Services, played: Cast, person: Callable[..., Page]) -> None:
    """Another site relays our challenge. The authenticator signs the origin of that site."""
    page = person()
    authenticator(page)
    sign_in(page, played.ADA)
    page.goto("/profile/passkeys")
    page.get_by_role("button", name="Add passkey").click()
    expect(page.get_by_text("Your passkey is ready")).to_be_visible()
    page.locator("header details summary").click()
    page.get_by_role("button", name="Sign out").click()
    with served.database.open(everything("a passkey as it is")) as db:
        before = db.scalars(select(Passkey)).one()
    page.evaluate("""() => { const real = navigator.credentials.get.bind(navigator.credentials);
        navigator.credentials.get = async (options) => { const said = await real(options);
            const data = JSON.parse(new TextDecoder().decode(said.response.clientDataJSON)); data.origin = "https://mallory.example";
            const bytes = new TextEncoder().encode(JSON.stringify(data));
            return { id: said.id, rawId: said.rawId, type: said.type, response: { clientDataJSON: bytes, signature: said.response.signature,
                authenticatorData: said.response.authenticatorData, userHandle: said.response.userHandle } }; }; }""")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_text("does not belong to an account here")).to_be_visible()
    with served.database.open(everything("a passkey as it is")) as db:
        assert db.scalars(select(Passkey)).one().last_used_at == before.last_used_at is None


@on_sqlite
def test_a_passkey_stays_valid_after_an_account_merge(served: Services, played: Cast, person: Callable[..., Page]) -> None:
    """The authenticator keeps the user handle of the merged account."""
    page, other = person(), person()
    authenticator(page)
    sign_in(page, played.BEN)
    page.goto("/profile/passkeys")
    page.get_by_role("button", name="Add passkey").click()
    expect(page.get_by_text("Your passkey is ready")).to_be_visible()
    page.locator("header details summary").click()
    page.get_by_role("button", name="Sign out").click()
    sign_in(other, played.ADA)
    with served.database.open(everything("both said yes"), write=True) as db:
        ben, ada = (db.scalars(select(IdentityEmail).where(IdentityEmail.email_key == item)).one() for item in (played.BEN, played.ADA))
        people, merge_id = [ada.identity_id, ben.identity_id], account_merge.begin(db, ada.identity_id, ben)
    done = [
        account_merge.agree(
            served.database, Visit(session_id="", identity_id=identity, created_at=clock.wall(), proved_at=clock.wall()), merge_id
        )
        for identity in people
    ]
    assert done == [False, True]
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url(served.settings.base_url + "/")
    expect(page.get_by_text("Acorn Team").first).to_be_visible()
    page.goto("/profile/addresses")
    expect(page.get_by_role("rowheader", name=played.BEN)).to_be_visible()


@on_sqlite
def test_without_scripts_only_email_sign_in_is_offered(served: Services, played: Cast, person: Callable[..., Page]) -> None:
    page = person(scripts=False)
    page.goto("/login")
    assert not page.get_by_role("button", name="Sign in with a passkey").is_visible()
    sign_in(page, played.ADA)
    page.goto("/profile/passkeys")
    expect(page.get_by_text("You can sign in by email.")).to_be_visible()
