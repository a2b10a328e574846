"""Signing in by letter: link and code in one, by people and not by scanners; merchants' links; what each proof opens."""

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
from auth import links, sessions, signing
from auth.models import BrowserSession, Budget, Challenge, Grant
from billing.commands.businesses import create_business
from billing.commands.customers import create_customer
from billing.parties import Business, Customer
from core import clock, schema, web
from core.db import Database
from core.mail import Mailer
from core.scope import Actor, everything, system
from core.settings import Settings
from core.web import House
from core.worker import Handlers, Worker
from tests.visitor import Visitor

ADA, BEN, MALLORY = "ada@marlow.example", "ben@hill.example", "mallory@void.example"


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """Sign-in alone, with two small doors that say who came in."""
    app = Flask("wsgi", root_path=str(web.__file__).rsplit("/", 2)[0], template_folder="templates", static_folder="static")
    database = Database(settings)
    schema.check(database)
    handlers = Handlers()
    house = House(settings, database, mailer=Mailer(settings, database), worker=Worker(database, handlers), handlers=handlers)
    web.register(app, house)
    auth.register(app, house)

    @app.get("/")
    def unified_home() -> Any:
        visit = sessions.current()
        if visit is None or not visit.is_person:
            return jsonify(who=None)
        scope = sessions.scope_for_unified(visit)
        return jsonify(who=visit.email, name=visit.name, customers=sorted(scope.customer_ids), addresses=visit.addresses)

    @app.get("/business/<business_id>/")
    def business_home(business_id: str) -> Any:
        visit = sessions.current()
        scope = sessions.scope_for_business(visit, business_id) if visit else None
        return jsonify(customers=list(scope.customer_ids) if scope else None, identity=scope.identity_id if scope else None,
                       who=visit.email if visit and scope else None)

    yield app
    database.dispose()


@pytest.fixture
def house(app: Flask) -> House:
    return app.extensions["portal"]


@pytest.fixture
def shop(house: House) -> dict[str, str]:
    """Acorn and Birch; Ada at both, Ben at Birch."""
    out: dict[str, str] = {}
    for name in ("Acorn", "Birch"):
        with house.database.open(everything("a test's business"), write=True) as db:
            out[name] = create_business(db, name=name, currency="EUR", support_email=f"help@{name.lower()}.example").business_id
    for key, name, email in (("ada.acorn", "Acorn", "Ada@Marlow.example"), ("ada.birch", "Birch", ADA), ("ben", "Birch", BEN)):
        with house.database.open(system(out[name]), write=True) as db:
            out[key] = create_customer(db, out[name], email=email, name=email.split("@")[0].title()).customer_id
    return out


@pytest.fixture
def browser(app: Flask, shop: dict[str, str]) -> Callable[..., Visitor]:
    return lambda **kwargs: Visitor(app, **kwargs)


def ask(one: Visitor, email: str, door: str = "/login") -> str:
    """Ask for a letter; its text ('' when none came)."""
    before = len(one.letters(email))
    one.get(door + ("&" if "?" in door else "?") + "again=1")
    one.submit("login", email=email)
    assert one.page and one.page.h1 == "Check your mail"
    letters = one.letters(email)
    return letters[-1].text if len(letters) > before else ""


def link_in(text: str) -> str:
    return re.search(r"(/login/link/\S+|/session/\S+)", text).group(1)  # type: ignore[union-attr]


def code_in(text: str) -> str:
    return re.search(r"browser that asked: (\w{4} \w{4})", text).group(1)  # type: ignore[union-attr]


def who(one: Visitor, path: str = "/") -> Any:
    return one.get(path).response.get_json()


def count(house: House, model: Any, *where: Any) -> int:
    with house.database.open(everything("a test counts")) as db:
        return db.scalar(select(func.count()).select_from(model).where(*where)) or 0


def rest(house: House) -> None:
    """Half an hour without a letter: the budgets are as new."""
    with house.database.open(everything("a test lets time pass"), write=True) as db:
        for row in db.scalars(select(Budget)):
            row.window_start -= timedelta(days=8)


def test_one_click_in_the_browser_that_asked(browser: Any, shop: dict[str, str]) -> None:
    ada = browser()
    text = ask(ada, ADA)
    assert "Firefox" in text and "Linux" in text
    path = link_in(text)
    assert "Sign in to everything you bought" in ada.get(path).h1
    ada.submit("/login/link/")
    assert who(ada)["customers"] == sorted([shop["ada.acorn"], shop["ada.birch"]])


def test_the_code_works_and_small_letters_do_too(browser: Any) -> None:
    ada = browser()
    text = ask(ada, ADA)
    ada.get("/login/sent")
    ada.submit("/login/code", code=code_in(text).lower().replace(" ", "-"))
    assert who(ada)["who"] == "ada@marlow.example"


def test_a_scanner_uses_nothing_up(browser: Any, app: Flask) -> None:
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


def test_elsewhere_the_link_wants_the_code(browser: Any) -> None:
    ada, phone = browser(), browser(agent="Mozilla/5.0 (iPhone) Safari/604.1")
    text = ask(ada, ADA)
    page = phone.get(link_in(text))
    assert "Firefox · Linux" in page.text and ADA not in page.text
    phone.submit("/login/link/", code="AAAAAAAA", expect=422)
    phone.submit("/login/link/", code=code_in(text))
    assert who(phone)["who"] and who(ada)["who"] is None


def test_used_links_offer_a_new_one(browser: Any, house: House) -> None:
    ada, later = browser(), browser()
    path = link_in(ask(ada, ADA))
    ada.get(path)
    ada.submit("/login/link/")
    assert "signed in" in ada.get(path, expect=410).text
    page = later.get(path, expect=410)
    assert "a••@marlow.example" in page.text and ADA not in page.text
    rest(house)
    later.submit("/again")
    assert later.page.h1 == "Check your mail" and ADA not in later.page.text
    assert len(later.letters(ADA)) == 2


def test_expired_unknown_and_other_modes_links(browser: Any, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = browser()
    path = link_in(ask(ada, ADA))
    soon = clock.wall() + timedelta(minutes=11)
    monkeypatch.setattr(clock, "wall", lambda: soon)
    assert ada.get(path, expect=410).h1 == "This link has run out"
    assert ada.get("/login/link/" + "x" * 43, expect=404).h1 == "This link has run out"


def test_fifty_parallel_clicks_make_one_session(browser: Any, app: Flask, house: House) -> None:
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
    assert count(house, BrowserSession) == 1 and count(house, Grant) == 1


def test_known_and_unknown_look_the_same(browser: Any, house: House) -> None:
    answers, seen = [], []
    for email in (ADA, "nobody@void.example"):
        one = browser()
        one.get("/login")
        token = one.token()
        response = one.client.post("/login", data={"email": email, "csrf_token": token}, headers={"Origin": house.settings.base_url})
        page = one.get("/login/sent")
        text = page.body.decode().replace(email, "ADDRESS")
        answers.append((response.status_code, response.headers["Location"], re.sub(r'(value|nonce)="[^"]*"', "", text)))
        seen.append(response.headers.getlist("Set-Cookie").__len__())
    assert answers[0] == answers[1] and seen[0] == seen[1]


def test_an_unknown_address_is_told_once_and_can_say_never_again(browser: Any, house: House) -> None:
    mallory = browser()
    text = ask(mallory, MALLORY)
    assert "No purchases" in text and "/login/link/" not in text
    path = re.search(r"(/login/never-again/\S+)", text).group(1)  # type: ignore[union-attr]
    mallory.get(path)
    mallory.submit("")
    rest(house)
    assert ask(mallory, MALLORY) == ""


def test_a_business_door_speaks_for_itself(browser: Any, shop: dict[str, str], house: House) -> None:
    ben, door = browser(), f"/login/{shop['Acorn']}"
    text = ask(ben, BEN, door)
    assert "Acorn" in text and "another business" in text and "Birch" not in text and "/login/link/" not in text
    ada = browser()
    text = ask(ada, ADA, door)
    ada.get(link_in(text))
    ada.submit("/login/link/")
    assert ada.path == f"/business/{shop['Acorn']}/"
    assert who(ada, ada.path)["customers"] == [shop["ada.acorn"]]
    assert len(who(ada)["customers"]) == 2  # an e-mail proof opens everything
    ada.get(f"/login/{shop['Birch']}")
    assert ada.path == f"/business/{shop['Birch']}/"  # straight in
    ada.get("/login/bus_nobody", expect=404)


def test_an_archived_business_sends_people_to_the_unified_door(browser: Any, shop: dict[str, str], house: House) -> None:
    with house.database.open(everything("a test closes a shop"), write=True) as db:
        db.execute(update(Business).where(Business.business_id == shop["Acorn"]).values(archived_at=clock.now()))
    page = browser().get(f"/login/{shop['Acorn']}", expect=403)
    assert "closed its shop" in page.h1 and page.soup.find("a", href="/login")


def test_guessing_ends_after_five_and_the_link_still_works(browser: Any) -> None:
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


def test_twenty_failures_close_the_code_path_only(browser: Any, house: House) -> None:
    for _ in range(4):
        mallory = browser()
        ask(mallory, ADA)
        for _ in range(5):
            mallory.submit("/login/code", code="22222222", expect=422)
        with house.database.open(everything("a test lets a minute pass"), write=True) as db:
            db.execute(update(Budget).where(Budget.key.like("letter:%")).values(count=0))
    with house.database.open(everything("a test lets challenges run out"), write=True) as db:
        db.execute(update(Challenge).values(revoked_at=clock.wall()))
    ada = browser()
    text = ask(ada, ADA)
    ada.submit("/login/code", code=code_in(text), expect=422)
    ada.get(link_in(text))
    ada.submit("/login/link/")
    assert who(ada)["who"]


def test_a_flood_does_not_lock_out_a_known_browser(browser: Any, house: House) -> None:
    ada = browser()
    ada.sign_in(ADA)
    ada.get("/login?again=1")
    ada.post("/logout")
    rest(house)
    flood = [ask(browser(), ADA) for _ in range(4)]
    assert flood[0] and not any(flood[1:])  # one in 30 seconds
    assert ask(ada, ADA)


def test_sources_are_limited_over_the_network(browser: Any, house: House) -> None:
    one = browser(address="2001:db8:1:2::7")
    for n in range(12):
        one.get("/login")
        one.submit("login", email=f"someone{n}@void.example")
    assert count(house, Challenge) == 10


def test_a_merchants_link_opens_one_customer_and_no_person(browser: Any, shop: dict[str, str], house: House, app: Flask) -> None:
    with app.app_context(), house.database.open(system(shop["Acorn"]), write=True) as db:
        _, url = links.create_dynamic_link(db, shop["Acorn"], shop["ada.acorn"], actor=Actor("api_key", "key_1"))
    one, path = browser(), link_in(url)
    page = one.get(path)
    assert "a••@" in page.text.lower() and page.response.headers["Referrer-Policy"] == "no-referrer"
    one.submit("/session/")
    inside = who(one, f"/business/{shop['Acorn']}/")
    assert inside["customers"] == [shop["ada.acorn"]] and inside["identity"] is None
    assert who(one)["who"] is None and who(one, f"/business/{shop['Birch']}/")["customers"] is None
    one.get(path)
    assert one.path.startswith("/business/")  # its own browser goes straight in
    other = browser()
    assert other.get(path, expect=410).h1 == "This link has run out"
    other.submit("/again")
    again = other.letters("Ada@marlow.example")[-1].text
    other.open_link(again, "/session/")
    assert other.path == f"/business/{shop['Acorn']}/"


def test_a_merchants_link_beside_a_person(browser: Any, shop: dict[str, str], house: House, app: Flask) -> None:
    ada = browser()
    ada.sign_in(ADA)
    with app.app_context(), house.database.open(system(shop["Birch"]), write=True) as db:
        _, url = links.create_dynamic_link(db, shop["Birch"], shop["ben"], actor=Actor("api_key", "key_1"))
    ada.get(link_in(url))
    ada.submit("/session/")
    seen = who(ada, f"/business/{shop['Birch']}/")
    assert seen["customers"] == [shop["ben"]] and seen["identity"] is None
    assert len(who(ada)["customers"]) == 2 and who(ada)["who"] == ADA
    ada.get("/login?again=1")
    ada.post("/logout", {"business_id": shop["Birch"]})  # out of the link only
    assert who(ada, f"/business/{shop['Birch']}/")["customers"] == [shop["ada.birch"]]
    ada.get("/login?again=1")
    ada.post("/logout")
    assert who(ada)["who"] is None


def test_signing_out_everywhere(browser: Any, house: House, app: Flask) -> None:
    ada, phone = browser(), browser()
    ada.sign_in(ADA)
    rest(house)
    phone.sign_in(ADA)
    with app.test_request_context(headers={"Cookie": "; ".join(f"{c.key}={c.value}" for c in phone.client._cookies.values())}):
        visit = sessions.current()
        assert visit and sessions.proved_within(visit)
        assert [row.is_here for row in signing.sessions_of(house.database, visit)].count(True) == 1
        assert signing.end_all(house.database, visit, keep_here=True) == 1
    assert who(ada)["who"] is None and who(phone)["who"]


def test_next_stays_here(browser: Any) -> None:
    for goal, lands in (("/?x=1", "/?x=1"), ("//evil.example", "/"), ("https://evil.example/", "/"), ("/login", "/")):
        ada = browser()
        ada.get(f"/login?next={goal}")
        rest(ada.house)
        ada.submit("login", email=ADA)
        ada.open_link(ada.letters(ADA)[-1].text)
        assert ada.path == lands


def test_cookies_are_kept_well(browser: Any) -> None:
    ada = browser()
    text = ask(ada, ADA)
    ada.get(link_in(text))
    ada.submit("/login/link/", follow=False, expect=303)
    kept = [line for line in ada.page.response.headers.getlist("Set-Cookie") if line.startswith("signed-in-test=")]
    assert kept and "HttpOnly" in kept[0] and "SameSite=Lax" in kept[0] and "Path=/" in kept[0]


def test_customers_of_an_address_are_found_folded(house: House, shop: dict[str, str]) -> None:
    assert count(house, Customer, Customer.email_key == ADA) == 2
