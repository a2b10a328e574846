"""The OpenID provider with real apps: `openid-client` (certified, on Node) and Authlib's client (over HTTP).

The person uses a browser without scripts. Apps reach the served application over HTTP and receive its logout tokens.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from authlib.integrations.httpx_client import OAuth2Client
from sqlalchemy import select, update
from werkzeug.serving import make_server

from auth import session_lifecycle
from auth.identities import identity_of
from auth.models import BrowserSession, Grant, Identity, IdentityEmail
from auth.oidc_server import apps, keys
from auth.oidc_server.apps import AppForm
from auth.oidc_server.models import App, AppConsent, AppSession, AppSubject, AppToken, SigningKey
from auth.session_lifecycle import grant_business
from billing.customers.customers import create_customer
from billing.model.parties import Customer
from core import clock
from core.outbox import Event
from core.scope import everything, system
from core.settings import Settings
from tests.cast import Cast
from tests.providers import free_port
from tests.providers.party import Party, PartyError
from tests.visitor import Page, Visitor

SCOPE = "openid profile email"
STAY = SCOPE + " offline_access"


class Town(Cast):
    """The cast, served over HTTP. `party` holds the apps `notes` (Acorn), `hosting` (Birch), `phone` (Acorn, public), `post` (Acorn)."""

    app: Any
    party: Party
    base: str
    ids: dict[str, str]
    secrets: dict[str, str | None]

    def browser(self, email: str | None = None) -> Visitor:
        """A browser. With an address, it has just proved that address."""
        visitor = Visitor(self.app)
        if email:
            with self.app.app_context(), self.services.database.open(everything("somebody proved an address"), write=True) as db:
                person = identity_of(db, email, email)
                secret = session_lifecycle.open_session(
                    db, self.services.settings, person, None, "", sign_in_method="email", address_key=email, is_known=True
                )
            visitor.client.set_cookie("signed-in-test", secret)
        return visitor

    def rows(self, kind: Any, *where: Any) -> list[Any]:
        with self.services.database.open(everything("look at rows")) as db:
            return list(db.scalars(select(kind).where(*where)))

    def register(self, business: str, name: str, *, public: bool = False, how: str = "basic") -> None:
        business_id = getattr(self, business)
        back = f"http://127.0.0.1:{self.party.port}"
        with self.app.app_context(), self.services.database.open(system(business_id), write=True) as db:
            row, secret = apps.add(
                db,
                self.services.settings,
                self.services.outgoing,
                business_id,
                AppForm(name.title(), f"{back}/{name}/callback", f"{back}/{name}/bye", f"{back}/{name}"),
                public=public,
            )
            assert secret is None or secret not in str(row.secret_hash)
        self.ids[name], self.secrets[name] = row.id, secret
        self.party("discover", app=name, issuer=self.base, client_id=row.id, secret=secret, how=how, redirect_uri=f"{back}/{name}/callback")

    # --- helpers: the flow of a person and an app
    def ask(self, browser: Visitor, name: str, scope: str = SCOPE, **more: Any) -> Page:
        """Open the app's authorization request in the browser."""
        return follow(browser, self.party("url", app=name, scope=scope, more=more))

    def sign_in_to(self, browser: Visitor, name: str, scope: str = SCOPE, **more: Any) -> dict[str, Any]:
        """Run the complete flow with consent where needed. Returns the app's tokens and the `claims` of the ID token."""
        page = self.ask(browser, name, scope, **more)
        if page.status == 200 and "oauth/consent" in str(page.soup):
            page = browser.submit("oauth/consent", follow=False, expect=302, decision="allow")
        return self.party("callback", app=name, url=came_back(page))

    def heard(self) -> list[dict[str, Any]]:
        self.services.worker.drain()
        return self.party("heard")


def follow(browser: Visitor, url: str) -> Page:
    """Follow redirects until they leave our origin."""
    page = browser.get(url, follow=False, expect=None)
    for _ in range(6):
        if page.status not in (301, 302, 303) or urlsplit(page.location).netloc not in ("", "localhost", urlsplit(url).netloc):
            return page
        page = browser.get(page.location, follow=False, expect=None)
    return page


def came_back(page: Page) -> str:
    """Return the redirect URI of the answer, from a redirect or from the page after sign-in."""
    if page.status == 200:
        meta = page.soup.find("meta", {"http-equiv": "refresh"})
        assert meta, page.text[:500]
        return meta["content"].partition("url=")[2]
    assert page.status == 302, f"{page.status}: {page.text[:600]}"
    return page.location


def said(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


BOTH = ("an_app_signs", "two_hands", "signing_out_here", "takes_an_app_back", "not_hers_any_more", "keys_rotate")
"""Tests in which the engine can matter: who sees which row, and who is first."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "town" in metafunc.fixturenames:
        engines = ["sqlite", "postgresql"] if any(item in metafunc.function.__name__ for item in BOTH) else ["sqlite"]
        metafunc.parametrize("town", engines, indirect=True, scope="module")


@pytest.fixture(scope="module")
def town(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    from wsgi import create_app

    engine: Any = request.getfixturevalue("postgres" if request.param == "postgresql" else "sqlite")
    urls, drop = engine.fresh()
    server = make_server("127.0.0.1", free_port(), lambda environ, start: app(environ, start), threaded=True)
    base = f"http://127.0.0.1:{server.port}"
    app = create_app(Settings(data_dir=tmp_path_factory.mktemp("town"), base_url=base, outgoing_loopback=True, **urls))
    app.testing = False
    with app.app_context():
        town = Town.play(app.extensions["portal"])
    town.app, town.base, town.ids, town.secrets, town.party = app, base, {}, {}, Party()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    town.register("acorn", "notes")
    town.register("birch", "hosting")
    town.register("acorn", "phone", public=True, how="none")
    town.register("acorn", "post", how="post")
    yield town
    town.party.stop()
    server.shutdown()
    thread.join(10)
    town.services.database.dispose()
    drop()


@pytest.fixture(autouse=True)
def unlimited_emails(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable the limits of sign-in emails, because Ada signs in very often here."""
    monkeypatch.setattr("auth.rate_limits.emails", lambda *_: [])


# --- the complete flow


def test_an_app_signs_a_customer_in(town: Town) -> None:
    known = town.party(
        "discover",
        app="notes",
        issuer=town.base,
        client_id=town.ids["notes"],
        secret=town.secrets["notes"],
        how="basic",
        redirect_uri=f"http://127.0.0.1:{town.party.port}/notes/callback",
    )
    assert known["authorization_response_iss_parameter_supported"] is True
    assert known["code_challenge_methods_supported"] == ["S256"] and known["subject_types_supported"] == ["pairwise"]

    ada = town.browser()
    page = town.ask(ada, "notes", STAY)
    assert page.h1 == "Your account at Acorn Notes" and "Acorn Notes" in page.text
    ada.submit("login", email=town.ADA)
    page = ada.open_link(ada.emails(town.ADA)[-1].text)
    assert page.h1 == "Sign in to Notes?" and "Ada Marlow" in page.text and "Birch" not in page.text
    answer = ada.submit("oauth/consent", follow=False, expect=302, decision="allow")
    assert said(answer.location)["iss"] == town.base and answer.response.headers["Cache-Control"] == "no-store"
    tokens = town.party("callback", app="notes", url=answer.location)  # checks iss, state, nonce, signature, at_hash

    claims = tokens["claims"]
    assert claims["iss"] == town.base and claims["aud"] == town.ids["notes"] and "email" not in claims and "name" not in claims
    assert tokens["expires_in"] == 600 and tokens["token_type"] == "bearer"
    info = town.party("userinfo", app="notes", token=tokens["access_token"], sub=claims["sub"])
    assert info == {"sub": claims["sub"], "name": "Ada Marlow", "email": "Ada@marlow.example", "email_verified": True}
    # the database holds nothing usable
    kept = str([vars(row) for kind in (AppSession, AppToken, App, SigningKey) for row in town.rows(kind)])
    for secret in (tokens["access_token"], tokens["refresh_token"], said(answer.location)["code"], str(town.secrets["notes"])):
        assert secret not in kept
    assert '"d":' not in kept and "PRIVATE" not in kept

    # the consent is stored: it is not asked again, except for a wider scope
    again = town.ask(ada, "notes")
    assert again.status == 302 and "code" in said(again.location)
    assert town.party("callback", app="notes", url=again.location)["claims"]["sub"] == claims["sub"]
    assert town.ask(ada, "notes", prompt="consent").h1 == "Sign in to Notes?"


def test_declined_consent_and_strangers_get_an_error(town: Town) -> None:
    ben = town.browser(town.BEN)
    town.ask(ben, "hosting")
    answer = ben.submit("oauth/consent", follow=False, expect=302, decision="deny")
    assert said(answer.location)["error"] == "access_denied" and said(answer.location)["iss"] == town.base

    page = town.ask(ben, "notes")  # Ben buys nothing from Acorn
    assert page.status == 403 and page.h1 == "You are not a customer of Acorn Notes"
    answer = ben.submit("oauth/consent", follow=False, expect=302)
    assert said(answer.location)["error"] == "access_denied" and "code" not in said(answer.location)
    with pytest.raises(PartyError, match="access_denied"):
        town.party("callback", app="notes", url=answer.location)


def test_subjects_differ_per_business_and_are_stable(town: Town) -> None:
    ada = town.browser(town.ADA)
    at_acorn, at_birch = town.sign_in_to(ada, "notes"), town.sign_in_to(ada, "hosting")
    assert at_acorn["claims"]["sub"] != at_birch["claims"]["sub"]
    assert town.sign_in_to(ada, "post")["claims"]["sub"] == at_acorn["claims"]["sub"]  # two apps of one business agree
    assert town.party("userinfo", app="hosting", token=at_birch["access_token"], sub=at_birch["claims"]["sub"])["email"] == town.ADA
    # a second customer row at Acorn does not replace the first one
    with town.services.database.open(system(town.acorn), write=True) as db:
        create_customer(db, town.acorn, email=town.ADA, name="Ada the second")
    assert town.sign_in_to(town.browser(town.ADA), "notes")["claims"]["sub"] == at_acorn["claims"]["sub"]


def test_a_subject_is_stable_after_an_account_merge(town: Town) -> None:
    """The subject does not change. Consents of the merged account have ended."""
    lou = "lou@hill.example"
    with town.services.database.open(system(town.birch), write=True) as db:
        create_customer(db, town.birch, email=lou, name="Lou")
    before = town.sign_in_to(town.browser(lou), "hosting", STAY)
    with town.services.database.open(everything("the address joins another account"), write=True) as db:
        db.add(Identity(identity_id="idn_other", name="", locale=None, zone=None, created_at=clock.wall()))
        db.flush()
        db.execute(
            update(IdentityEmail).where(IdentityEmail.email_key == lou).values(identity_id="idn_other"),
            execution_options={"synchronize_session": False},
        )
    with pytest.raises(PartyError, match="invalid_grant"):
        town.party("refresh", app="hosting", token=before["refresh_token"])
    assert town.sign_in_to(town.browser(lou), "hosting")["claims"]["sub"] == before["claims"]["sub"]


def test_a_lost_customer_row_gives_no_claims(town: Town) -> None:
    with town.services.database.open(system(town.acorn), write=True) as db:
        row = create_customer(db, town.acorn, email="kim@hill.example", name="Kim")
        customer_id = row.customer_id
    kim = town.browser("kim@hill.example")
    tokens = town.sign_in_to(kim, "notes", STAY)
    with town.services.database.open(system(town.acorn), write=True) as db:
        db.scalars(select(Customer).where(Customer.customer_id == customer_id)).one().email_key = town.MALLORY
    with pytest.raises(PartyError):
        town.party("userinfo", app="notes", token=tokens["access_token"], sub=tokens["claims"]["sub"])
    with pytest.raises(PartyError, match="invalid_grant"):
        town.party("refresh", app="notes", token=tokens["refresh_token"])


# --- codes


def test_a_reused_code_revokes_its_tokens(town: Town) -> None:
    ada = town.browser(town.ADA)
    answer = came_back(_allowed(town, ada, "notes", STAY))
    tokens = town.party("callback", app="notes", url=answer)
    with pytest.raises(PartyError, match="invalid_grant"):
        town.party("callback", app="notes", url=answer)
    with pytest.raises(PartyError):
        town.party("userinfo", app="notes", token=tokens["access_token"], sub=tokens["claims"]["sub"])
    with pytest.raises(PartyError, match="invalid_grant"):
        town.party("refresh", app="notes", token=tokens["refresh_token"])


def test_a_code_is_bound_to_app_verifier_redirect_uri_and_minute(town: Town) -> None:
    ada = town.browser(town.ADA)
    answer = came_back(_allowed(town, ada, "notes"))
    with pytest.raises(PartyError, match="invalid_grant"):
        town.party("callback", app="notes", url=answer, verifier="x" * 43)
    bare = {
        "grant_type": "authorization_code",
        "code": said(answer)["code"],
        "code_verifier": "y" * 43,
        "redirect_uri": answer.split("?")[0],
    }
    post = (town.ids["post"], str(town.secrets["post"]))
    wrong_method = httpx.post(f"{town.base}/oauth/token", data=bare | {"client_id": town.ids["phone"]})
    assert wrong_method.json()["error"] == "invalid_grant"  # another app's code
    assert httpx.post(f"{town.base}/oauth/token", data=bare, auth=post).json()["error"] == "invalid_grant"
    outside = httpx.post(
        f"{town.base}/oauth/token",
        data=bare | {"redirect_uri": bare["redirect_uri"] + "/"},
        auth=(town.ids["notes"], str(town.secrets["notes"])),
    )
    assert outside.status_code == 400 and outside.json()["error"] == "invalid_grant"
    assert town.party("callback", app="notes", url=answer)["claims"]["sub"]  # the tries above did not consume the code

    late = came_back(_allowed(town, ada, "notes"))
    with town.services.database.open(everything("a minute passes"), write=True) as db:
        db.execute(
            update(AppSession).values(code_expires_at=clock.wall() - timedelta(seconds=1)), execution_options={"synchronize_session": False}
        )
    with pytest.raises(PartyError, match="invalid_grant"):
        town.party("callback", app="notes", url=late)


def test_parallel_uses_of_a_code_or_refresh_token_succeed_once(town: Town) -> None:
    """Of many parallel uses at most one succeeds. Afterwards no token of the family works."""
    ada = town.browser(town.ADA)
    with _client(town) as app:
        url, _state = app.create_authorization_url(f"{town.base}/oauth/authorize", code_verifier="v" * 64)
        answer = came_back(follow(ada, url))
        form = {
            "grant_type": "authorization_code",
            "code": said(answer)["code"],
            "code_verifier": "v" * 64,
            "redirect_uri": answer.split("?")[0],
        }
        got = _at_once(town, form)
    assert sum(item.status_code == 200 for item in got) <= 1
    assert {item.json()["error"] for item in got if item.status_code != 200} <= {"invalid_grant"}
    for item in got:
        if item.status_code == 200:
            assert not _works(town, item.json()["access_token"])

    tokens = town.sign_in_to(ada, "notes", STAY)
    got = _at_once(town, {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]})
    assert sum(item.status_code == 200 for item in got) <= 1
    assert not any(_works(town, item.json()["access_token"]) for item in got if item.status_code == 200)


# --- invalid requests


@pytest.mark.parametrize(
    ("swap", "outcome"),
    [
        ({"redirect_uri": "http://127.0.0.1:1/notes/callback"}, "page"),
        ({"redirect_uri": "+/"}, "page"),  # one character more
        ({"redirect_uri": 'https://a.example/"é'}, "page"),
        ({"client_id": "app_nobody"}, "page"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
        ({"scope": "profile"}, "invalid_scope"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": ""}, "invalid_request"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "dance"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"request": "e30.e30."}, "request_not_supported"),
        ({"request_uri": "https://a.example/r"}, "request_uri_not_supported"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"id_token_hint": "no.token.ofours"}, "invalid_request"),
    ],
)
def test_invalid_requests_are_refused(town: Town, swap: dict[str, str], outcome: str) -> None:
    """Redirects go only to a registered address of the app. Errors sent to the app contain `iss`."""
    values = said(town.party("url", app="notes", scope=SCOPE))
    if swap.get("redirect_uri") == "+/":
        swap = {"redirect_uri": values["redirect_uri"] + "/"}
    page = town.browser().get("/oauth/authorize?" + urlencode({k: v for k, v in (values | swap).items() if v}), follow=False, expect=None)
    if outcome == "page":
        assert page.status == 400 and not page.location and page.h1 == "This app sent an invalid request"
    else:
        told = said(page.location)
        assert page.location.startswith(values["redirect_uri"] + "?") and told["error"] == outcome
        assert told["iss"] == town.base and told["state"] == values["state"]


def test_repeated_parameters_are_refused(town: Town) -> None:
    url = town.party("url", app="notes", scope=SCOPE)
    assert town.browser().get(url + "&redirect_uri=https%3A%2F%2Fmallory.example", follow=False, expect=None).status == 400


def test_a_post_request_is_handled_like_a_get_request(town: Town) -> None:
    values = said(town.party("url", app="notes", scope=SCOPE))
    page = town.browser().post("/oauth/authorize", values, token=False, follow=False, expect=303)
    assert said(page.location) == values


def test_consent_pages_cannot_be_framed(town: Town) -> None:
    """The pages are not framed, stored or referred from. The consent form may redirect only to the app's origin."""
    ada = town.browser(town.ADA)
    headers = town.ask(ada, "post", prompt="consent").response.headers
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert f"form-action 'self' http://127.0.0.1:{town.party.port};" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer" and headers["Cache-Control"] == "no-store"
    bare = ada.post(ada.path.replace("authorize", "consent"), {"decision": "allow"}, token=False, follow=False, expect=400)
    assert not bare.location  # without the CSRF token there is no consent


# --- prompt, max_age


def test_prompt_none_discloses_nothing(town: Town) -> None:
    """The answer is the same when signed out, for a stranger, without consent, and with an old sign-in."""
    answers = []
    never = town.browser(town.BEN)
    old = town.browser(town.ADA)
    town.sign_in_to(old, "notes")
    _age(town, timedelta(hours=2), town.ADA)
    for browser, name, more in (
        (town.browser(), "notes", {}),
        (never, "notes", {}),
        (never, "hosting", {}),
        (old, "notes", {"max_age": "60"}),
    ):
        page = town.ask(browser, name, prompt="none", **more)
        told = said(page.location)
        assert page.status == 302 and set(told) == {"error", "state", "iss"}, told
        answers.append(told["error"])
    assert set(answers) == {"login_required"}
    page = town.ask(old, "notes", prompt="none")
    assert town.party("callback", app="notes", url=page.location)["claims"]["sub"]


def test_max_age_asks_for_a_new_sign_in(town: Town) -> None:
    ada = town.browser(town.ADA)
    town.sign_in_to(ada, "notes")
    _age(town, timedelta(hours=2), town.ADA)
    for more in ({"max_age": "60"}, {"prompt": "login"}):
        asked = int(clock.wall().timestamp())
        page = town.ask(ada, "notes", **more)
        assert page.h1 == "Your account at Acorn Notes"
        mark = said(said(ada.path)["next"])["signed_in_after"]
        ada.submit("login", email=town.ADA)
        page = ada.open_link(ada.emails(town.ADA)[-1].text)
        tokens = town.party("callback", app="notes", url=came_back(page))
        assert tokens["claims"]["auth_time"] >= asked
        other = follow(ada, town.party("url", app="notes", scope=SCOPE, more={"prompt": "login"}) + f"&signed_in_after={mark}")
        assert other.h1 == "Your account at Acorn Notes"  # a sign-in for one request does not answer another
        _age(town, timedelta(hours=2), town.ADA)


def test_an_id_token_hint_of_another_person_asks_for_sign_in(town: Town) -> None:
    tokens = town.sign_in_to(town.browser(town.ADA), "notes")
    with town.services.database.open(system(town.acorn), write=True) as db:
        create_customer(db, town.acorn, email="lee@hill.example", name="Lee")
    lee = town.browser("lee@hill.example")
    town.sign_in_to(lee, "notes")
    page = town.ask(lee, "notes", prompt="none", id_token_hint=tokens["id_token"])
    assert said(page.location)["error"] == "login_required"
    town.ask(lee, "notes", id_token_hint=tokens["id_token"])
    lee.submit("login", email="lee@hill.example")
    page = lee.open_link(lee.emails("lee@hill.example")[-1].text)  # asked to sign in, and Ada does not
    assert said(came_back(page))["error"] == "login_required" and "code" not in said(came_back(page))


# --- grants


def test_a_portal_link_signs_nobody_in_to_an_app(town: Town) -> None:
    browser = _with_grant(town, "link")
    assert browser.get(f"/business/{town.acorn}/").status == 200
    page = town.ask(browser, "notes")
    assert page.h1 == "Your account at Acorn Notes"
    assert said(town.ask(browser, "notes", prompt="none").location)["error"] == "login_required"


def test_the_businesss_own_provider_signs_in_to_its_apps(town: Town) -> None:
    browser = _with_grant(town, "sso")
    tokens = town.sign_in_to(browser, "notes", STAY)
    info = town.party("userinfo", app="notes", token=tokens["access_token"], sub=tokens["claims"]["sub"])
    assert info["email_verified"] is False and "refresh_token" not in tokens
    known = town.rows(AppSubject, AppSubject.customer_id == town.ada_at_acorn.customer_id)
    assert [row.id for row in known] == [tokens["claims"]["sub"]]  # the same customer, however proved
    assert town.ask(browser, "hosting").h1 == "Your account at Birch Hosting"


# --- tokens


def test_a_reused_refresh_token_revokes_its_family(town: Town) -> None:
    first = town.sign_in_to(town.browser(town.ADA), "notes", STAY)
    second = town.party("refresh", app="notes", token=first["refresh_token"])
    assert second["refresh_token"] != first["refresh_token"] and _works(town, second["access_token"])
    narrow = town.party("refresh", app="notes", token=second["refresh_token"], more={"scope": "openid email"})
    info = town.party("userinfo", app="notes", token=narrow["access_token"], sub=first["claims"]["sub"])
    assert set(info) == {"sub", "email", "email_verified"}
    with pytest.raises(PartyError, match="invalid_grant"):
        town.party("refresh", app="notes", token=first["refresh_token"])
    assert not _works(town, narrow["access_token"])
    with pytest.raises(PartyError, match="invalid_grant"):
        town.party("refresh", app="notes", token=narrow["refresh_token"])


def test_a_refresh_token_ends_after_thirty_days_however_often_it_rotated(town: Town) -> None:
    first = town.sign_in_to(town.browser(town.ADA), "phone", STAY)
    family = town.rows(AppSession, AppSession.id == first["claims"]["sid"])[0]
    assert family.expires_at - family.created_at == timedelta(days=30)
    second = town.party("refresh", app="phone", token=first["refresh_token"])
    kept = town.rows(AppToken, AppToken.app_session_id == family.id, AppToken.kind == "refresh")
    assert {row.expires_at for row in kept} == {family.expires_at}
    with town.services.database.open(everything("thirty days pass"), write=True) as db:
        db.execute(
            update(AppSession).where(AppSession.id == family.id).values(expires_at=clock.wall()),
            execution_options={"synchronize_session": False},
        )
    with pytest.raises(PartyError, match="invalid_grant"):
        town.party("refresh", app="phone", token=second["refresh_token"])


def test_tokens_are_introspected_and_revoked(town: Town) -> None:
    tokens = town.sign_in_to(town.browser(town.ADA), "notes", STAY)
    found = town.party("introspect", app="notes", token=tokens["access_token"])
    assert found["active"] and found["client_id"] == town.ids["notes"] and found["sub"] == tokens["claims"]["sub"]
    assert town.party("introspect", app="post", token=tokens["access_token"])["active"]  # the same business
    assert town.party("introspect", app="hosting", token=tokens["access_token"]) == {"active": False}
    assert town.party("introspect", app="notes", token="made up") == {"active": False}
    with pytest.raises(PartyError):
        town.party("introspect", app="phone", token=tokens["access_token"])  # public apps may not introspect

    town.party("revoke", app="hosting", token=tokens["access_token"])  # another app's token: the same answer, and no effect
    assert _works(town, tokens["access_token"])
    town.party("revoke", app="notes", token=tokens["refresh_token"])
    assert town.party("introspect", app="notes", token=tokens["access_token"]) == {"active": False}
    with pytest.raises(PartyError, match="invalid_grant"):
        town.party("refresh", app="notes", token=tokens["refresh_token"])


def test_apps_authenticate_with_their_registered_method(town: Town) -> None:
    """`notes` uses the header and `post` the form in the tests above. Here the refusals are tested."""
    form = {"grant_type": "refresh_token", "refresh_token": "x"}

    def ask(auth: tuple[str, str] | None = None, **more: str) -> httpx.Response:
        return httpx.post(f"{town.base}/oauth/token", data=form | more, **({"auth": auth} if auth else {}))

    for answer in (
        ask((town.ids["notes"], "wrong")),
        ask(client_id=town.ids["notes"]),
        ask(),
        ask(("app_nobody", "x")),
        ask(client_id=town.ids["notes"], client_secret="wrong"),
        ask(client_id=town.ids["phone"], client_secret="any"),
    ):
        assert answer.status_code in (400, 401) and answer.json()["error"] == "invalid_client", answer.text
        assert "set-cookie" not in answer.headers
    assert httpx.post(f"{town.base}/oauth/token", data={"grant_type": 'pass"wörd'}).status_code == 400
    assert (
        httpx.post(f"{town.base}/oauth/token", data={"grant_type": "password", "username": "a", "password": "b"}).json()["error"]
        == "unsupported_grant_type"
    )


def test_userinfo_takes_its_token_from_the_header_only(town: Town) -> None:
    tokens = town.sign_in_to(town.browser(town.ADA), "notes")
    url = f"{town.base}/oauth/userinfo"
    assert httpx.get(url, params={"access_token": tokens["access_token"]}).status_code == 401
    assert httpx.post(url, data={"access_token": tokens["access_token"]}).status_code == 401
    refused = httpx.get(url, headers={"Authorization": "Bearer x"})
    assert refused.status_code == 401 and refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert httpx.post(url, headers={"Authorization": f"Bearer {tokens['access_token']}"}).json()["sub"] == tokens["claims"]["sub"]


def test_authlibs_client_signs_a_customer_in(town: Town) -> None:
    ada = town.browser(town.ADA)
    town.sign_in_to(ada, "post", STAY)  # consent
    with _client(town, "post", STAY) as app:
        url, state = app.create_authorization_url(f"{town.base}/oauth/authorize", code_verifier="w" * 50, nonce="n")
        answer = came_back(follow(ada, url))
        token = app.fetch_token(f"{town.base}/oauth/token", authorization_response=answer, state=state, code_verifier="w" * 50)
        assert app.get(f"{town.base}/oauth/userinfo").json()["name"] == "Ada Marlow"
        fresh = app.refresh_token(f"{town.base}/oauth/token", refresh_token=token["refresh_token"])
        assert fresh["refresh_token"] != token["refresh_token"]
        assert app.introspect_token(f"{town.base}/oauth/introspection", token=fresh["access_token"]).json()["active"]
        app.revoke_token(f"{town.base}/oauth/revocation", token=fresh["refresh_token"])
        assert not app.introspect_token(f"{town.base}/oauth/introspection", token=fresh["access_token"]).json()["active"]


# --- logout


def test_signing_out_here_signs_out_of_the_apps(town: Town) -> None:
    ada = town.browser(town.ADA)
    notes, hosting = town.sign_in_to(ada, "notes"), town.sign_in_to(ada, "hosting", STAY)
    other = town.sign_in_to(town.browser(town.ADA), "notes")
    town.heard()
    ada.get("/profile")
    ada.post("/logout")
    assert not _works(town, notes["access_token"])  # at once
    assert _works(town, other["access_token"])  # her other browser stays signed in
    told = town.heard()
    assert {(item["app"], item["sid"], item["sub"]) for item in told} == {
        ("notes", notes["claims"]["sid"], notes["claims"]["sub"]),
        ("hosting", hosting["claims"]["sid"], hosting["claims"]["sub"]),
    }
    assert town.heard() == []  # once
    assert town.party("refresh", app="hosting", token=hosting["refresh_token"])["access_token"]  # offline access stays


def test_a_new_sign_in_sends_no_logout(town: Town) -> None:
    """A new sign-in creates a new session row. The grants and app sessions move to it."""
    ada = town.browser(town.ADA)
    notes = town.sign_in_to(ada, "notes")
    town.heard()
    ada.get("/login?again=1")
    ada.submit("login", email=town.ADA)
    ada.open_link(ada.emails(town.ADA)[-1].text)
    assert town.heard() == [] and _works(town, notes["access_token"])


def test_an_unanswered_logout_token_is_sent_again(town: Town) -> None:
    ada = town.browser(town.ADA)
    notes = town.sign_in_to(ada, "notes")
    town.heard()
    town.party("refuse", count=1)
    ada.get("/profile")
    ada.post("/logout")
    assert town.heard() == []
    with town.services.database.open(everything("a second passes"), write=True) as db:
        for family in db.scalars(select(AppSession).where(AppSession.logout_due_at.is_not(None))):
            family.logout_due_at = clock.wall()
    assert [item["sid"] for item in town.heard()] == [notes["claims"]["sid"]]


def test_an_app_requests_logout(town: Town) -> None:
    ada = town.browser(town.ADA)
    notes = town.sign_in_to(ada, "notes")
    after = f"http://127.0.0.1:{town.party.port}/notes/bye"
    url = town.party("end", app="notes", id_token=notes["id_token"], after=after)
    page = ada.get(url)
    assert page.h1 == "Sign out here too?"  # a GET ends nothing
    ada.get("/profile")
    ada.get(url)
    gone = ada.submit("oauth/logout/confirmation", follow=False, expect=303)
    assert gone.location == after + "?state=bye"
    assert ada.get("/profile", follow=False, expect=303).location.startswith("/login")
    assert [item["sid"] for item in town.heard() if item["app"] == "notes"] == [notes["claims"]["sid"]]
    assert ada.get(url, follow=False, expect=303).location == after + "?state=bye"  # not signed in: redirected without a page

    ben = town.browser(town.BEN)
    outside = ben.get(town.party("end", app="notes", id_token=notes["id_token"], after="https://mallory.example/"))
    assert outside.h1 == "Sign out here too?" and "mallory" not in str(outside.soup.find("main").find_all("a"))
    assert ben.submit("oauth/logout/confirmation", follow=False, expect=303).location == "/login"
    assert ben.get("/oauth/logout?id_token_hint=made.up.token", expect=400).h1 == "This app sent an invalid request"


def test_a_person_revokes_an_app(town: Town) -> None:
    ada = town.browser(town.ADA)
    notes = town.sign_in_to(ada, "notes", STAY)
    town.heard()
    page = ada.get("/profile/apps")
    assert "Notes" in page.text and "Acorn Notes" in page.text
    consent = next(
        row
        for row in town.rows(AppConsent, AppConsent.app_id == town.ids["notes"], AppConsent.revoked_at.is_(None))
        if row.customer_id == town.ada_at_acorn.customer_id
    )
    ben = town.browser(town.BEN)
    ben.get("/profile")
    ben.post(f"/profile/apps/{consent.id}/removal", expect=404)
    ada.get("/profile/apps")
    ada.submit(consent.id)
    assert not _works(town, notes["access_token"])
    with pytest.raises(PartyError, match="invalid_grant"):
        town.party("refresh", app="notes", token=notes["refresh_token"])
    assert notes["claims"]["sid"] in [item["sid"] for item in town.heard()]
    assert town.ask(ada, "notes").h1 == "Sign in to Notes?"
    assert {"app.allowed", "app.disallowed"} <= {row.type for row in town.rows(Event, Event.customer_id == town.ada_at_acorn.customer_id)}


def test_a_removed_app_signs_nobody_in(town: Town) -> None:
    town.register("acorn", "gone")
    ada = town.browser(town.ADA)
    tokens = town.sign_in_to(ada, "gone")
    with town.services.database.open(system(town.acorn), write=True) as db:
        apps.remove(db, town.ids["gone"])
    assert not _works(town, tokens["access_token"])
    assert town.ask(ada, "gone").status == 400
    assert tokens["claims"]["sid"] in [item["sid"] for item in town.heard()]


# --- keys


def test_signing_keys_rotate_without_failures(town: Town) -> None:
    database, settings = town.services.database, town.services.settings
    runner = town.app.test_cli_runner()
    kids = [entry["kid"] for entry in httpx.get(f"{town.base}/oauth/jwks").json()["keys"]]
    assert len(kids) == 2 and not any("d" in item for item in keys.ring(database, settings).public["keys"])
    assert "an hour" in runner.invoke(args=["keys", "rotate"]).output  # apps may not have the next key yet
    with database.open(everything("an hour passes"), write=True) as db:
        for row in db.scalars(select(SigningKey)):
            row.created_at -= timedelta(hours=2)
    before = town.sign_in_to(town.browser(town.ADA), "notes")
    assert runner.invoke(args=["keys", "rotate"]).exit_code == 0
    published = [entry["kid"] for entry in httpx.get(f"{town.base}/oauth/jwks").json()["keys"]]
    assert published[:2] == kids and len(published) == 3
    after = town.sign_in_to(town.browser(town.ADA), "notes")  # the app kept the old key set, and the key was in it
    assert _kid(before["id_token"]) == kids[0] and _kid(after["id_token"]) == kids[1]

    assert runner.invoke(args=["keys", "rotate", "--now"]).exit_code == 0
    left = [entry["kid"] for entry in httpx.get(f"{town.base}/oauth/jwks").json()["keys"]]
    assert kids[1] not in left  # a compromised key is removed at once
    assert left == [row.id for row in keys.ring(database, settings).rows]


# --- helpers


def _allowed(town: Town, browser: Visitor, name: str, scope: str = SCOPE) -> Page:
    page = town.ask(browser, name, scope)
    asks = page.status == 200 and "oauth/consent" in str(page.soup)
    return browser.submit("oauth/consent", follow=False, expect=302, decision="allow") if asks else page


def _works(town: Town, token: str) -> bool:
    return httpx.get(f"{town.base}/oauth/userinfo", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def _client(town: Town, name: str = "notes", scope: str = SCOPE) -> OAuth2Client:
    how = "client_secret_post" if name == "post" else "client_secret_basic"
    return OAuth2Client(
        town.ids[name],
        town.secrets[name],
        scope=scope,
        code_challenge_method="S256",
        token_endpoint_auth_method=how,
        redirect_uri=f"http://127.0.0.1:{town.party.port}/{name}/callback",
    )


def _at_once(town: Town, form: dict[str, str]) -> list[httpx.Response]:
    got: list[httpx.Response] = []
    auth = (town.ids["notes"], str(town.secrets["notes"]))
    threads = [
        threading.Thread(target=lambda: got.append(httpx.post(f"{town.base}/oauth/token", data=form, auth=auth, timeout=30)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    assert len(got) == 4
    return got


def _age(town: Town, by: timedelta, email: str) -> None:
    """Make the person's sign-ins older."""
    with town.services.database.open(everything("time passes"), write=True) as db:
        for row in db.scalars(select(BrowserSession).where(BrowserSession.proved_at.is_not(None))):
            row.proved_at -= by
        for grant in db.scalars(select(Grant).where(Grant.address_key == email)):
            grant.proved_at -= by


def _with_grant(town: Town, sign_in_method: str) -> Visitor:
    """A browser with access granted only by Acorn: by a link, or by Acorn's own provider."""
    browser = town.browser()
    with town.app.app_context(), town.services.database.open(everything("a grant of a business"), write=True) as db:
        secret = grant_business(
            db,
            town.services.settings,
            None,
            "",
            business_id=town.acorn,
            customer_id=town.ada_at_acorn.customer_id,
            sign_in_method=sign_in_method,
            life=session_lifecycle.LINK_LIFE,
        )
    browser.client.set_cookie("signed-in-test", str(secret))
    return browser


def _kid(token: str) -> str:
    import base64
    import json

    head = token.split(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"])
