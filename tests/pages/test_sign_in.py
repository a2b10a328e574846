"""Sign-in by email with a link and a code; link scanners; portal links of businesses; what each proof opens."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask, jsonify
from sqlalchemy import func, select, update

import auth
from auth import own_sessions, portal_links, sessions
from auth.models import BrowserSession, Challenge, Grant, RateLimitCount
from billing.customers.businesses import create_business
from billing.customers.customers import create_customer
from billing.model.parties import Business, Customer
from core import application, clock, schema
from core.db import Database
from core.handlers import Handlers
from core.mail import Mailer
from core.metrics.snapshot import Snapshot
from core.scope import Actor, everything, system
from core.services import Services
from core.settings import Settings
from core.worker import Worker
from tests.visitor import Visitor

ADA, BEN, MALLORY = "ada@marlow.example", "ben@hill.example", "mallory@void.example"


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """Sign-in alone, with two small routes that return the signed-in person."""
    app = Flask("wsgi", root_path=str(application.__file__).rsplit("/", 2)[0], template_folder="templates", static_folder="static")
    database = Database(settings)
    schema.check(database)
    handlers = Handlers()
    services = Services(
        settings,
        database,
        mailer=Mailer(settings, database),
        worker=Worker(database, handlers),
        handlers=handlers,
        metrics=Snapshot(database),
    )
    application.register(app, services)
    auth.register(app, services)

    @app.get("/")
    def unified_home() -> Any:
        visit = sessions.current_visit()
        if visit is None or not visit.is_person:
            return jsonify(who=None)
        scope = sessions.scope_for_unified(visit)
        return jsonify(who=visit.email, name=visit.name, customers=sorted(scope.customer_ids), addresses=visit.addresses)

    @app.get("/business/<business_id>/")
    def business_home(business_id: str) -> Any:
        visit = sessions.current_visit()
        scope = sessions.scope_for_business(visit, business_id) if visit else None
        return jsonify(
            customers=list(scope.customer_ids) if scope else None,
            identity=scope.identity_id if scope else None,
            who=visit.email if visit and scope else None,
        )

    yield app
    database.dispose()


@pytest.fixture
def services(app: Flask) -> Services:
    return app.extensions["portal"]


@pytest.fixture
def site(services: Services) -> dict[str, str]:
    """Acorn and Birch; Ada is a customer of both, Ben of Birch."""
    out: dict[str, str] = {}
    for name in ("Acorn", "Birch"):
        with services.database.open(everything("a test's business"), write=True) as db:
            out[name] = create_business(db, name=name, currency="EUR", support_email=f"help@{name.lower()}.example").business_id
    for key, name, email in (("ada.acorn", "Acorn", "Ada@Marlow.example"), ("ada.birch", "Birch", ADA), ("ben", "Birch", BEN)):
        with services.database.open(system(out[name]), write=True) as db:
            out[key] = create_customer(db, out[name], email=email, name=email.split("@")[0].title()).customer_id
    return out


@pytest.fixture
def browser(app: Flask, site: dict[str, str]) -> Callable[..., Visitor]:
    return lambda **kwargs: Visitor(app, **kwargs)


def ask(visitor: Visitor, email: str, door: str = "/login") -> str:
    """Request a sign-in email. Returns its text ('' if none was sent)."""
    before = len(visitor.emails(email))
    visitor.get(door + ("&" if "?" in door else "?") + "again=1")
    visitor.submit("login", email=email)
    assert visitor.page and visitor.page.h1 == "Check your email"
    emails = visitor.emails(email)
    return emails[-1].text if len(emails) > before else ""


def link_in(text: str) -> str:
    return re.search(r"(/login/link/\S+|/session/\S+)", text).group(1)  # type: ignore[union-attr]


def code_in(text: str) -> str:
    return re.search(r"asked to sign in: (\w{4} \w{4})", text).group(1)  # type: ignore[union-attr]


def who(visitor: Visitor, path: str = "/") -> Any:
    return visitor.get(path).response.get_json()


def count(services: Services, model: Any, *where: Any) -> int:
    with services.database.open(everything("a test counts")) as db:
        return db.scalar(select(func.count()).select_from(model).where(*where)) or 0


def rest(services: Services) -> None:
    """Advance half an hour, so that rate limits reset."""
    with services.database.open(everything("a test lets time pass"), write=True) as db:
        for row in db.scalars(select(RateLimitCount)):
            row.window_start -= timedelta(days=8)


def test_the_link_signs_in_the_browser_that_requested_it(browser: Any, site: dict[str, str]) -> None:
    ada = browser()
    text = ask(ada, ADA)
    assert "Firefox" in text and "Linux" in text
    path = link_in(text)
    assert "Sign in to everything you bought" in ada.get(path).h1
    ada.submit("/login/link/")
    assert who(ada)["customers"] == sorted([site["ada.acorn"], site["ada.birch"]])


def test_the_code_works_in_lower_case_too(browser: Any) -> None:
    ada = browser()
    text = ask(ada, ADA)
    ada.get("/login/sent")
    ada.submit("/login/code", code=code_in(text).lower().replace(" ", "-"))
    assert who(ada)["who"] == "ada@marlow.example"


def test_a_link_scanner_does_not_use_up_the_link(browser: Any, app: Flask) -> None:
    ada, scanner = browser(), browser(agent="Scanner")
    path = link_in(ask(ada, ADA))
    for _ in range(3):
        assert scanner.get(path).status == 200
        assert app.test_client().head(path).status_code == 200
    scanner.submit("/login/link/", code="", expect=422)  # it submits forms, but has no code
    assert app.test_client().post(path).status_code == 400  # nor does a bare POST
    ada.get(path)
    ada.submit("/login/link/")
    assert who(ada)["who"]


def test_in_another_browser_the_link_asks_for_the_code(browser: Any) -> None:
    ada, phone = browser(), browser(agent="Mozilla/5.0 (iPhone) Safari/604.1")
    text = ask(ada, ADA)
    page = phone.get(link_in(text))
    assert "Firefox · Linux" in page.text and ADA not in page.text
    phone.submit("/login/link/", code="AAAAAAAA", expect=422)
    phone.submit("/login/link/", code=code_in(text))
    assert who(phone)["who"] and who(ada)["who"] is None


def test_a_used_link_offers_a_new_email(browser: Any, services: Services) -> None:
    ada, later = browser(), browser()
    path = link_in(ask(ada, ADA))
    ada.get(path)
    ada.submit("/login/link/")
    assert "signed in" in ada.get(path, expect=410).text
    page = later.get(path, expect=410)
    assert "a••@marlow.example" in page.text and ADA not in page.text
    rest(services)
    later.submit("/resend")
    assert later.page.h1 == "Check your email" and ADA not in later.page.text
    assert len(later.emails(ADA)) == 2


def test_expired_unknown_and_other_modes_links_are_refused(browser: Any, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = browser()
    path = link_in(ask(ada, ADA))
    soon = clock.wall() + timedelta(minutes=11)
    monkeypatch.setattr(clock, "wall", lambda: soon)
    assert ada.get(path, expect=410).h1 == "This link has expired"
    assert ada.get("/login/link/" + "x" * 43, expect=404).h1 == "This link has expired"


def test_fifty_parallel_clicks_create_one_session(browser: Any, app: Flask, services: Services) -> None:
    ada = browser()
    path = link_in(ask(ada, ADA))
    ada.get(path)
    token = ada.token()
    cookies = "; ".join(f"{c.key}={c.value}" for c in ada.client._cookies.values())

    def click(_: int) -> int:
        client = app.test_client(use_cookies=False)
        return client.post(path, data={"csrf_token": token}, headers={"Cookie": cookies}).status_code

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(click, range(50)))
    assert answers.count(303) == 1 and set(answers) <= {303, 410}
    assert count(services, BrowserSession) == 1 and count(services, Grant) == 1


def test_known_and_unknown_addresses_get_the_same_answer(browser: Any, services: Services) -> None:
    answers, seen = [], []
    for email in (ADA, "nobody@void.example"):
        item = browser()
        item.get("/login")
        token = item.token()
        response = item.client.post("/login", data={"email": email, "csrf_token": token}, headers={"Origin": services.settings.base_url})
        page = item.get("/login/sent")
        text = page.body.decode().replace(email, "ADDRESS")
        answers.append((response.status_code, response.headers["Location"], re.sub(r'(value|nonce)="[^"]*"', "", text)))
        seen.append(response.headers.getlist("Set-Cookie").__len__())
    assert answers[0] == answers[1] and seen[0] == seen[1]


def test_an_unknown_address_is_emailed_once_and_can_opt_out(browser: Any, services: Services) -> None:
    mallory = browser()
    text = ask(mallory, MALLORY)
    assert "No purchases" in text and "/login/link/" not in text
    path = re.search(r"(/login/email-opt-out/\S+)", text).group(1)  # type: ignore[union-attr]
    mallory.get(path)
    mallory.submit("")
    rest(services)
    assert ask(mallory, MALLORY) == ""


def test_a_business_door_shows_its_own_brand_at_sign_in(browser: Any, site: dict[str, str], services: Services) -> None:
    ben, door = browser(), f"/login/{site['Acorn']}"
    text = ask(ben, BEN, door)
    assert "Acorn" in text and "another business" in text and "Birch" not in text and "/login/link/" not in text
    ada = browser()
    text = ask(ada, ADA, door)
    ada.get(link_in(text))
    ada.submit("/login/link/")
    assert ada.path == f"/business/{site['Acorn']}/"
    assert who(ada, ada.path)["customers"] == [site["ada.acorn"]]
    assert len(who(ada)["customers"]) == 2  # an e-mail proof opens everything
    ada.get(f"/login/{site['Birch']}")
    assert ada.path == f"/business/{site['Birch']}/"  # straight in
    ada.get("/login/bus_nobody", expect=404)


def test_an_archived_business_sends_people_to_the_unified_door(browser: Any, site: dict[str, str], services: Services) -> None:
    with services.database.open(everything("a test closes a shop"), write=True) as db:
        db.execute(update(Business).where(Business.business_id == site["Acorn"]).values(archived_at=clock.now()))
    page = browser().get(f"/login/{site['Acorn']}", expect=403)
    assert "has closed" in page.h1 and page.soup.find("a", href="/login")


def test_five_wrong_codes_end_the_code_and_not_the_link(browser: Any) -> None:
    ada = browser()
    text = ask(ada, ADA)
    for left in (4, 3, 2, 1):
        ada.submit("/login/code", code="22222222", expect=422)
        assert f"{left} tr" in ada.page.text
    ada.submit("/login/code", code="22222222", expect=422)
    ada.submit("/login/code", code=code_in(text), expect=422)
    ada.get(link_in(text))
    ada.submit("/login/link/")
    assert who(ada)["who"]


def test_twenty_wrong_codes_block_codes_and_not_links(browser: Any, services: Services) -> None:
    for _ in range(4):
        mallory = browser()
        ask(mallory, ADA)
        for _ in range(5):
            mallory.submit("/login/code", code="22222222", expect=422)
        with services.database.open(everything("a test lets a minute pass"), write=True) as db:
            db.execute(update(RateLimitCount).where(RateLimitCount.key.like("email:%")).values(count=0))
    with services.database.open(everything("a test lets challenges run out"), write=True) as db:
        db.execute(update(Challenge).values(revoked_at=clock.wall()))
    ada = browser()
    text = ask(ada, ADA)
    ada.submit("/login/code", code=code_in(text), expect=422)
    ada.get(link_in(text))
    ada.submit("/login/link/")
    assert who(ada)["who"]


def test_a_flood_does_not_lock_out_a_known_browser(browser: Any, services: Services) -> None:
    ada = browser()
    ada.sign_in(ADA)
    ada.get("/login?again=1")
    ada.post("/logout")
    rest(services)
    flood = [ask(browser(), ADA) for _ in range(4)]
    assert flood[0] and not any(flood[1:])  # one in 30 seconds
    assert ask(ada, ADA)


def test_sign_in_emails_are_limited_per_network(browser: Any, services: Services) -> None:
    item = browser(address="2001:db8:1:2::7")
    for n in range(12):
        item.get("/login")
        item.submit("login", email=f"someone{n}@void.example")
    assert count(services, Challenge) == 10


def test_a_portal_link_opens_one_customer_and_no_identity(browser: Any, site: dict[str, str], services: Services, app: Flask) -> None:
    with app.app_context(), services.database.open(system(site["Acorn"]), write=True) as db:
        _, url = portal_links.create_dynamic_link(db, site["Acorn"], site["ada.acorn"], actor=Actor("api_key", "key_1"))
    item, path = browser(), link_in(url)
    page = item.get(path)
    assert "a••@" in page.text.lower() and page.response.headers["Referrer-Policy"] == "no-referrer"
    item.submit("/session/")
    inside = who(item, f"/business/{site['Acorn']}/")
    assert inside["customers"] == [site["ada.acorn"]] and inside["identity"] is None
    assert who(item)["who"] is None and who(item, f"/business/{site['Birch']}/")["customers"] is None
    item.get(path)
    assert item.path.startswith("/business/")  # the requesting browser is signed in directly
    other = browser()
    assert other.get(path, expect=410).h1 == "This link has expired"
    other.submit("/resend")
    again = other.emails("Ada@marlow.example")[-1].text
    other.open_link(again, "/session/")
    assert other.path == f"/business/{site['Acorn']}/"


def test_a_portal_link_is_added_to_a_signed_in_session(browser: Any, site: dict[str, str], services: Services, app: Flask) -> None:
    ada = browser()
    ada.sign_in(ADA)
    with app.app_context(), services.database.open(system(site["Birch"]), write=True) as db:
        _, url = portal_links.create_dynamic_link(db, site["Birch"], site["ben"], actor=Actor("api_key", "key_1"))
    ada.get(link_in(url))
    ada.submit("/session/")
    seen = who(ada, f"/business/{site['Birch']}/")
    assert seen["customers"] == [site["ben"]] and seen["identity"] is None
    assert len(who(ada)["customers"]) == 2 and who(ada)["who"] == ADA
    ada.get("/login?again=1")
    ada.post("/logout", {"business_id": site["Birch"]})  # out of the link only
    assert who(ada, f"/business/{site['Birch']}/")["customers"] == [site["ada.birch"]]
    ada.get("/login?again=1")
    ada.post("/logout")
    assert who(ada)["who"] is None


def test_signing_out_everywhere_ends_all_sessions(browser: Any, services: Services, app: Flask) -> None:
    ada, phone = browser(), browser()
    ada.sign_in(ADA)
    rest(services)
    phone.sign_in(ADA)
    with app.test_request_context(headers={"Cookie": "; ".join(f"{c.key}={c.value}" for c in phone.client._cookies.values())}):
        visit = sessions.current_visit()
        assert visit and sessions.proved_within(visit)
        assert [row.is_here for row in own_sessions.sessions_of(services.database, visit)].count(True) == 1
        assert own_sessions.end_all(services.database, visit, keep_here=True) == 1
    assert who(ada)["who"] is None and who(phone)["who"]


def test_next_stays_on_this_site(browser: Any) -> None:
    for goal, lands in (("/?x=1", "/?x=1"), ("//evil.example", "/"), ("https://evil.example/", "/"), ("/login", "/")):
        ada = browser()
        ada.get(f"/login?next={goal}")
        rest(ada.services)
        ada.submit("login", email=ADA)
        ada.open_link(ada.emails(ADA)[-1].text)
        assert ada.path == lands


def test_cookies_have_secure_attributes(browser: Any) -> None:
    ada = browser()
    text = ask(ada, ADA)
    ada.get(link_in(text))
    ada.submit("/login/link/", follow=False, expect=303)
    kept = [line for line in ada.page.response.headers.getlist("Set-Cookie") if line.startswith("signed-in-test=")]
    assert kept and "HttpOnly" in kept[0] and "SameSite=Lax" in kept[0] and "Path=/" in kept[0]


def test_customers_of_an_address_are_found_folded(services: Services, site: dict[str, str]) -> None:
    assert count(services, Customer, Customer.email_key == ADA) == 2
