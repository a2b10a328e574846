"""Sign-in with a certified OpenID provider in a real browser: at the unified door and at a business's door."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask import request
from playwright.sync_api import Page, expect
from playwright.sync_api import TimeoutError as Slow
from sqlalchemy import select

from auth.models import IdentityEmail
from auth.oidc_client import connections, discovery
from auth.oidc_client.connections import ConnectionForm
from auth.oidc_client.models import ProviderLogin
from core.mailbox import MailboxEmail
from core.oidc_settings import OidcProvider as Named
from core.scope import everything, system
from core.services import Services
from core.settings import Settings
from tests.browser.conftest import axe, sign_in, told
from tests.cast import Cast
from tests.conftest import on_sqlite
from tests.providers import OidcProvider, free_port

pytestmark = pytest.mark.browser
SECRET = "a client secret of forty characters or so"


@pytest.fixture
def host() -> str:
    """Another site than the provider's 127.0.0.1."""
    return "localhost"


@pytest.fixture
def issuer() -> int:
    return free_port()


@pytest.fixture
def settings(settings: Settings, issuer: int) -> Settings:
    url = f"http://127.0.0.1:{issuer}"
    return replace(
        settings,
        outgoing_loopback=True,
        oidc_providers=(
            Named("work", "Work", url, "portal", SECRET, trust=("marlow.example",)),
            # its document names another issuer
            Named("other", "Other", url.replace("127.0.0.1", "localhost"), "portal", SECRET, trust=("*",)),
        ),
    )


@pytest.fixture
def provider(served: Services, played: Cast, issuer: int, tmp_path: Path) -> Iterator[OidcProvider]:
    base = served.settings.base_url
    oidc_provider = OidcProvider(
        issuer,
        [
            {
                "client_id": "portal",
                "client_secret": SECRET,
                "redirect_uris": [f"{base}/login/with/work/callback"],
                "backchannel_logout_uri": f"{base}/login/with/work/logout",
                "backchannel_logout_session_required": True,
            },
            {
                "client_id": "acorn",
                "client_secret": SECRET,
                "redirect_uris": [f"{base}/login/{played.acorn}/with/sso/callback"],
                "post_logout_redirect_uris": [f"{base}/login/{played.acorn}"],
                "backchannel_logout_uri": f"{base}/login/{played.acorn}/with/sso/logout",
                "backchannel_logout_session_required": True,
            },
        ],
        tmp_path,
    )
    for subject, address, verified in (
        ("ada-there", played.ADA, True),
        ("mallory-there", played.MALLORY, True),
        ("ben-there", played.BEN, True),
        ("pretender", played.ADA, False),
        ("a-17", played.ADA, False),
        ("z-1", "nobody@void.example", True),
    ):
        oidc_provider.knows(subject, address, verified)
    yield oidc_provider
    oidc_provider.stop()


def there(page: Page, who: str) -> None:
    """Use the provider's own pages for login and consent."""
    page.get_by_placeholder("Enter any login").fill(who)
    page.get_by_placeholder("and password").fill("anything")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").click()


def by_work(page: Page, who: str) -> None:
    for _ in range(3):  # the page reloads when a provider does not answer within four seconds
        page.goto("/login")
        page.get_by_role("button", name="Sign in with Work").click()
        try:
            page.get_by_placeholder("Enter any login").wait_for(timeout=8000)
            break
        except Slow:
            continue
    there(page, who)


def email_to(services: Services, address: str) -> str:
    """Wait for the newest email to this address and return it."""
    for _ in range(60):
        with services.database.open(everything("read the test mailbox")) as db:
            text = db.scalars(
                select(MailboxEmail.text)
                .where(MailboxEmail.to == address, MailboxEmail.text.contains("/login/link/"))
                .order_by(MailboxEmail.created_at.desc())
            ).first()
        if text:
            return text
        time.sleep(0.2)
    raise AssertionError(f"no letter to {address}")


def out(page: Page) -> None:
    page.goto("/")
    page.locator("header details summary").click()
    page.get_by_role("button", name="Sign out").click()


@on_sqlite
def test_a_provider_signs_in_at_the_unified_door(
    served: Services, played: Cast, provider: OidcProvider, person: Callable[..., Page]
) -> None:
    page = person()
    # trusted for the address, which is verified: signed in, and the person is notified
    by_work(page, "ada-there")
    expect(page.get_by_text("Birch Team").first).to_be_visible()
    assert told(served, "sign-in method was added") == [played.ADA]
    page.goto("/profile/providers")
    expect(page.get_by_role("rowheader", name="Work")).to_be_visible()
    assert axe(page) == []

    # the login is found by subject, whatever its address is the next time
    out(page)
    page.context.clear_cookies()
    provider.knows("ada-there", played.BEN)
    by_work(page, "ada-there")
    expect(page.get_by_text("Acorn Team").first).to_be_visible()
    assert "Ben Hill" not in page.content()

    # new keys at the provider are followed at once (once a minute at most)
    provider.restart(kid="second")
    out(page)
    page.context.clear_cookies()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(discovery, "AGAIN", 0.0)
        by_work(page, "ada-there")
        expect(page.get_by_text("Acorn Team").first).to_be_visible()

    # a logout at the provider ends this session only
    other_browser = person()
    sign_in(other_browser, played.ADA)
    page.goto(f"{provider.issuer}/session/end")
    page.get_by_role("button", name=re.compile("sign me out", re.I)).click()
    page.wait_for_load_state()
    page.goto(served.settings.base_url + "/")
    page.wait_for_url("**/login")
    other_browser.goto("/")
    expect(other_browser.get_by_text("Acorn Team").first).to_be_visible()


@on_sqlite
def test_an_unverified_address_is_proved_by_email_first(
    served: Services, played: Cast, provider: OidcProvider, person: Callable[..., Page]
) -> None:
    """An unverified address, and one of a domain that this issuer is not trusted for, are proved by email first."""
    page = person()
    by_work(page, "pretender")
    page.wait_for_url("**/login/sent")
    with served.database.open(everything("nothing was joined")) as db:
        assert db.scalars(select(ProviderLogin)).all() == [] and db.scalars(select(IdentityEmail)).all() == []
    text = email_to(served, played.ADA)
    link = re.search(r"/login/link/\S+", text)
    code = re.search(r"\b([2-9A-HJ-NP-Z]{4} [2-9A-HJ-NP-Z]{4})\b", text)
    assert link and code

    # the address's owner, in a browser of her own, enters the emailed code: she signs in, and nothing is linked
    ada = person()
    ada.goto(link.group(0))
    assert "You can then also sign in with" not in ada.content()
    ada.locator("input[autocomplete=one-time-code]").fill(code.group(1))
    ada.locator("main form button.main").click()
    expect(ada.get_by_text("Birch Team").first).to_be_visible()
    with served.database.open(everything("nothing was joined")) as db:
        assert db.scalars(select(ProviderLogin)).all() == []

    # an address of a domain that Work is not trusted for: the email opened in the same browser links both
    ben = person()
    by_work(ben, "ben-there")
    ben.wait_for_url("**/login/sent")
    ben.goto(re.search(r"/login/link/\S+", email_to(served, played.BEN)).group(0))
    expect(ben.get_by_text("You can then also sign in with ben@hill.example at Work")).to_be_visible()
    ben.locator("main form button.main").click()
    expect(ben.get_by_text("Birch Team").first).to_be_visible()
    out(ben)
    ben.goto("/login")
    ben.get_by_role("button", name="Sign in with Work").click()  # still signed in there
    expect(ben.get_by_text("Birch Team").first).to_be_visible()


@on_sqlite
def test_a_provider_account_of_another_identity_is_refused(
    served: Services, played: Cast, provider: OidcProvider, person: Callable[..., Page]
) -> None:
    """Ben tries to add Ada's account at Work, and then one with her address. He gets an error and no row changes."""
    ada, ben = person(), person(width=390)
    by_work(ada, "ada-there")
    expect(ada.get_by_text("Birch Team").first).to_be_visible()
    sign_in(ben, played.BEN)
    provider.knows("twin", played.ADA, True)

    def rows() -> list[tuple[object, ...]]:
        with served.database.open(everything("look at rows")) as db:
            return [
                tuple(getattr(row, column.key) for column in kind.__table__.columns)
                for kind in (ProviderLogin, IdentityEmail)
                for row in db.scalars(select(kind).order_by(kind.id))
            ]

    before = rows()
    assert len(before) == 3
    for who, words, back in (
        ("ada-there", "already signs in another person here", "Accounts you sign in with"),
        ("twin", "belongs to another account here", "Your email addresses"),
    ):
        ben.goto(served.settings.base_url + "/profile/providers")
        ben.get_by_role("button", name="Add Work").click()
        there(ben, who)
        expect(ben.get_by_text(words)).to_be_visible()
        expect(ben.get_by_text("Nothing was changed. You are signed in as ben@hill.example.")).to_be_visible()
        assert axe(ben) == [] and rows() == before and played.ADA not in ben.content()
        ben.get_by_role("link", name=back).click()
        expect(ben.get_by_role("heading", name=back, level=1)).to_be_visible()
    ada.goto("/subscriptions")
    expect(ada.get_by_text("Acorn Team").first).to_be_visible()


@on_sqlite
def test_a_business_signs_in_with_its_own_provider(
    served: Services, played: Cast, provider: OidcProvider, person: Callable[..., Page]
) -> None:
    with served.database.open(system(played.acorn), write=True) as db:
        row = connections.save(
            db, served.settings, served.outgoing, played.acorn, ConnectionForm(provider.issuer, "acorn", SECRET, "Acorn account", "email")
        )
        assert SECRET not in row.client_secret
        row.tested_at = row.created_at
        connections.switch(db, True)
    page = person()
    page.goto(f"/login/{played.acorn}")
    page.get_by_role("button", name="Sign in with Acorn account").click()
    there(page, "a-17")
    page.wait_for_url(f"**/business/{played.acorn}/")
    expect(page.get_by_text("Acorn Team").first).to_be_visible()
    assert "Birch" not in page.content()
    page.goto("/")
    page.wait_for_url("**/login")  # that business only
    page.goto(f"/business/{played.birch}/")
    assert "Birch Team" not in page.content()
    with served.database.open(everything("no identity was made")) as db:
        assert db.scalars(select(IdentityEmail)).all() == []

    # signing out here signs out there
    page.goto(f"/business/{played.acorn}/")
    page.locator("header details summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{provider.issuer}/**")
    page.get_by_role("button", name=re.compile("sign me out", re.I)).click()
    page.wait_for_url(f"**/login/{played.acorn}")

    # a person who is no customer of the business gets an error
    page.get_by_role("button", name="Sign in with Acorn account").click()
    there(page, "z-1")
    expect(page.get_by_text("that account has no purchases here")).to_be_visible()

    # removing the connection ends its access
    page.context.clear_cookies()
    page.goto(served.settings.base_url + f"/login/{played.acorn}")
    page.get_by_role("button", name="Sign in with Acorn account").click()
    there(page, "a-17")
    page.wait_for_url(f"**/business/{played.acorn}/")
    with served.database.open(system(played.acorn), write=True) as db:
        connections.remove(db)
    page.goto(f"/business/{played.acorn}/")
    page.wait_for_url(f"**/login/{played.acorn}*")


@on_sqlite
def test_mixed_up_providers_and_foreign_states_are_refused(
    served: Services, played: Cast, provider: OidcProvider, person: Callable[..., Page]
) -> None:
    page = person()
    page.goto("/login")
    page.get_by_role("button", name="Sign in with Other").click()
    expect(page.get_by_text("response did not come from Other")).to_be_visible()  # discovery names another issuer

    # Mallory's answer, opened in Ada's browser
    app = served.worker.around.__self__
    caught: list[str] = []

    def answer_of(browser: Page, who: str) -> str:
        """Return the provider's redirect without following it."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(app.view_functions, "auth.from_provider", lambda provider: caught.append(request.full_path) or "kept")
            by_work(browser, who)
            expect(browser.get_by_text("kept")).to_be_visible()
        return caught.pop()

    page.goto(answer_of(person(), "mallory-there"))
    expect(page.get_by_text("started in another browser")).to_be_visible()
    page.goto("/")
    page.wait_for_url("**/login")

    # the same answer without `iss`, and with another one, is a mix-up; afterwards the state is used
    for swap in (lambda query: re.sub(r"&?iss=[^&]+", "", query), lambda query: re.sub(r"iss=[^&]+", "iss=https://mallory.example", query)):
        ada = person()
        kept = answer_of(ada, "ada-there")
        ada.goto(swap(kept))
        expect(ada.get_by_text("response did not come from Work")).to_be_visible()
        ada.goto(kept)
        expect(ada.get_by_text("was already used")).to_be_visible()
