"""Attacks on who somebody is, each played out at the doors. What a merchant's link reaches stands in tests/house/test_merchants_reach.py,
a business's own provider and mix-ups in tests/browser/test_providers.py, the whole of linking in test_merging.py."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from sqlalchemy import select, update

from auth.links import create_dynamic_link
from auth.models import BrowserSession, IdentityEmail
from billing.commands.customers import create_customer, update_customer
from billing.parties import Business, Customer
from core import clock
from core.scope import everything, system
from core.security import cookie_name
from tenants.keys import new_key
from tests.conftest import Street
from tests.pages.test_merging import asks, at_ease_again, who
from tests.visitor import Visitor

pytestmark = pytest.mark.parametrize("street", ["sqlite"], indirect=True, scope="module")  # no engine knows of browsers
AWAY = (
    "https://evil.example/", "//evil.example/", "///evil.example", "/\\evil.example", "\\\\evil.example", "https:evil.example",
    "http://localhost@evil.example/", "http://localhost.evil.example/", "javascript:alert(1)", "data:text/html,x", "/\t/evil.example",
    "/\n/evil.example", " https://evil.example", "https://localhost:80@evil.example", "//localhost\\@evil.example", "/%0d%0aLocation:evil",
)


@pytest.fixture
def people(street: Street) -> Any:
    at_ease_again(street)

    def make(email: str | None = None) -> Visitor:
        one = Visitor(street.app)
        if email:
            one.sign_in(email)
            at_ease_again(street)
        return one

    return make


def session_cookie(street: Street, one: Visitor) -> str | None:
    found = one.client.get_cookie(cookie_name(street.house.settings, "signed-in"), domain="localhost")
    return found.value if found else None


def letter_link(one: Visitor, email: str) -> str:
    return "/login/link/" + one.letters(email)[-1].text.split("/login/link/")[1].split()[0]


def letter_code(one: Visitor, email: str) -> str:
    return re.search(r"browser that asked: (\w{4} \w{4})", one.letters(email)[-1].text)[1]


def stays_here(location: str) -> bool:
    """As a browser reads it: backslashes are slashes, tabs and line ends are nothing."""
    seen = re.sub(r"[\t\r\n]", "", location).replace("\\", "/").strip()
    parts = urlsplit(seen)
    return not seen.startswith("//") and (not parts.scheme and not parts.netloc or parts.netloc == "localhost" and parts.scheme == "http")


# --- accounts made before their owner came

def test_an_account_made_ahead_does_not_wait_for_its_victim(people: Any, street: Street) -> None:
    """Pre-hijacking: Mallory asks to sign in as Ada and to add Ada's address, before Ada ever came. Nothing is there when Ada comes."""
    mallory = people()
    mallory.get("/login")
    mallory.submit("login", email="eve@later.example")
    assert who(street, "eve@later.example") is None, "asking makes nobody"
    with street.house.database.open(system(street.acorn), write=True) as db:
        create_customer(db, street.acorn, email=street.MALLORY, name="Mallory")
        create_customer(db, street.acorn, email="eve@later.example", name="Eve")
    at_ease_again(street)
    mallory.sign_in(street.MALLORY)
    mallory.get("/profile/addresses")
    mallory.submit("/profile/addresses", email="eve@later.example")
    at_ease_again(street)
    eve = people("eve@later.example")
    assert who(street, "eve@later.example") not in (None, who(street, street.MALLORY))
    assert "eve@later.example" not in mallory.get("/profile").text and street.MALLORY not in eve.get("/profile").text


def test_a_letter_asked_before_the_owner_came_is_worth_nothing_after(people: Any, street: Street) -> None:
    """Mallory's request to add Ada's address stays open while Ada signs in; clicked then, by anybody, it joins nothing."""
    mallory = people(street.MALLORY)
    mallory.get("/profile/addresses")
    mallory.submit("/profile/addresses", email=street.ADA)
    path = letter_link(mallory, street.ADA)
    at_ease_again(street)
    ada = people(street.ADA)
    ada.get(path)
    assert "where you asked" in ada.page.h1
    ada.post(path)
    people().post(path)
    assert who(street, street.ADA) != who(street, street.MALLORY)


# --- the weakest mailbox (safety 8)

def test_the_weakest_mailbox_opens_its_own_rows_until_a_second_proof(people: Any, street: Street) -> None:
    weak_one = "ada@weak.example"
    with street.house.database.open(system(street.birch), write=True) as db:
        create_customer(db, street.birch, email=weak_one, name="Ada").accepted_at = clock.now()
    people(weak_one)
    ada = people(street.ADA)
    asks(ada, weak_one)
    ada.submit("/merges/")
    assert who(street, weak_one) == who(street, street.ADA)
    at_ease_again(street)
    weak = people(weak_one)
    assert "Acorn" not in weak.get("/subscriptions").text and "Acorn" in ada.get("/subscriptions").text
    for path in ("/", "/profile", "/profile/addresses", "/login?again=1", "/console"):
        said = weak.get(path).body.decode().lower()
        assert street.ADA not in said and "marlow" not in said, f"{path}: the rest of the person after a second proof"
    assert weak_one in weak.get("/profile/addresses").text and street.ADA in ada.get("/profile/addresses").text
    for path in ("/profile/export", "/profile/closing", "/profile/email", "/profile/passkeys", "/profile/providers"):
        weak.get(path, expect=403)
    for path in ("/profile/addresses/main", "/profile/addresses/removal"):
        weak.post(path, {"address": street.ADA}, expect=403)
    weak.post("/profile/addresses", {"email": "more@void.example"}, expect=403)
    ada.get("/profile/addresses")
    ada.post("/profile/addresses/removal", {"address": weak_one})
    assert weak.get("/subscriptions").status == 200 and weak.path.startswith("/login"), "gone on the next request"


# --- the merchant

def test_a_merchant_who_renames_a_customer_takes_nobody_along(people: Any, street: Street) -> None:
    """Acorn writes Ben's address on Ada's record: Ben sees nothing of hers unasked, Ada's account is as it was, both ways are told."""
    ada, ben = people(street.ADA), people(street.BEN)
    row = Customer.customer_id == street.ada_at_acorn.customer_id
    with street.house.database.open(system(street.acorn), write=True) as db:
        update_customer(db, db.scalars(select(Customer).where(row)).one(), email=street.BEN)
    assert "Acorn" not in ada.get("/subscriptions").text and "Birch" in ada.get("/subscriptions").text
    assert street.ADA not in ben.get("/profile").text and ada.letters(street.ADA)[-1].subject.startswith("[test] Acorn Notes changed")
    with street.house.database.open(system(street.acorn), write=True) as db:
        update_customer(db, db.scalars(select(Customer).where(row)).one(), email=street.ADA)
        db.scalars(select(Customer).where(row)).one().accepted_at = clock.now()


def test_a_merchants_link_raises_nobody(people: Any, street: Street) -> None:
    """With a link for Ada, Mallory reaches no person, no proof and no act that needs one."""
    with street.house.database.open(system(street.acorn), write=True) as db:
        _, url = create_dynamic_link(db, street.acorn, street.ada_at_acorn.customer_id, settings=street.house.settings)
    mallory = people()
    mallory.open_link(url, "/session/")
    for path in ("/profile/addresses", "/profile/export", "/profile/closing", "/profile/passkeys", "/"):
        assert mallory.get(path).status == 200 and mallory.path.startswith("/login")
    mallory.post(f"/business/{street.acorn}/profile/email", {"email": street.MALLORY}, expect=403)
    mallory.post("/profile/addresses", {"email": street.MALLORY})
    assert mallory.path.startswith("/login")


# --- sessions

def test_a_planted_session_cookie_is_never_the_one_somebody_signs_in_with(people: Any, street: Street) -> None:
    """Session fixation: with Mallory's own cookie, a made-up one, or one of before, signing in gives a new one; the old opens nothing."""
    mallory = people(street.MALLORY)
    name, planted = cookie_name(street.house.settings, "signed-in"), session_cookie(street, mallory)
    for value in (planted, "A" * 43):
        victim = people()
        victim.client.set_cookie(name, value, domain="localhost")
        victim.sign_in(street.ADA, "/login?again=1")
        at_ease_again(street)
        assert session_cookie(street, victim) not in (None, planted, value) and street.ADA in victim.get("/profile").text
    thief = people()
    thief.client.set_cookie(name, planted, domain="localhost")
    assert street.ADA not in thief.get("/profile").text
    ada = people(street.ADA)
    before = session_cookie(street, ada)
    ada.sign_in(street.ADA, "/login?again=1")
    at_ease_again(street)
    stale = people()
    stale.client.set_cookie(name, before, domain="localhost")
    assert stale.get("/profile").status == 200 and stale.path.startswith("/login"), "rotated at sign-in"


def test_nobody_is_signed_in_by_somebody_elses_form(people: Any, street: Street) -> None:
    """Login CSRF: Mallory's link or code, sent from her page or typed in a victim's browser, signs the victim in as nobody unawares."""
    mallory = people()
    mallory.get("/login")
    mallory.submit("login", email=street.MALLORY)
    path, code = letter_link(mallory, street.MALLORY), letter_code(mallory, street.MALLORY)
    victim = people(street.ADA)
    for origin in ("https://evil.example", "null"):
        from_there = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
        victim.post(path, {}, expect=400, headers=from_there)
        victim.post("/login/code", {"code": code}, expect=400, headers=from_there)
    victim.post(path, {}, token=False, expect=400)
    victim.get(path)
    assert street.ADA in victim.page.text and "ends when you go on" in victim.page.text, "it says who is signed in now"
    assert street.MALLORY not in victim.page.text, "and a mask of whose link this is"
    victim.post(path, {}, expect=422)
    assert street.ADA in victim.get("/profile").text


def test_a_code_is_worth_nothing_in_another_browser(people: Any, street: Street) -> None:
    """Mallory reads Ada's code over the shoulder, or asks her for it by telephone."""
    ada, mallory = people(), people()
    ada.get("/login")
    ada.submit("login", email=street.ADA)
    code = letter_code(ada, street.ADA)
    mallory.get("/login")
    mallory.submit("login", email=street.MALLORY)
    mallory.post("/login/code", {"code": code}, expect=422)
    bare = people()
    bare.post("/login/code", {"code": code}, expect=None)
    assert bare.get("/profile").status == 200 and bare.path.startswith("/login")
    ada.post("/login/code", {"code": code})
    assert street.ADA in ada.get("/profile").text
    inside = session_cookie(street, ada)
    ada.post("/login/code", {"code": code})
    assert session_cookie(street, ada) == inside, "used once"


def test_an_old_proof_changes_nothing_that_matters(people: Any, street: Street) -> None:
    """A browser left open in a library: it reads, and every act on the account itself asks for a letter first."""
    ada = people(street.ADA)
    with street.house.database.open(everything("a test lets time pass"), write=True) as db:
        db.execute(update(BrowserSession).values(proved_at=clock.wall() - timedelta(hours=1)))
    for path in ("/profile/addresses", "/profile/addresses/main", "/profile/addresses/removal", "/profile/email", "/profile/export",
                 "/profile/closing", "/profile/passkeys"):
        ada.post(path, {"email": street.MALLORY, "address": street.ADA, "confirmation": street.ADA})
        assert ada.path.startswith("/login?again=1"), path
    assert who(street, street.ADA)


# --- where to go next

def next_at_sign_in(street: Street, people: Any, value: str) -> str:
    one = people()
    one.get("/login?next=" + quote(value))
    one.submit("login", email=street.ADA, next=value)
    path = letter_link(one, street.ADA)
    one.get(path)
    at_ease_again(street)
    return one.submit("/login/link/", follow=False, expect=303).location


def signed_in(path: str) -> Any:
    def go(street: Street, people: Any, value: str) -> str:
        one = people.ada
        return one.get(path.format(acorn=street.acorn) + quote(value, safe=""), follow=False, expect=None).location
    return go


def next_of_a_link(street: Street, people: Any, value: str) -> str:
    with street.house.database.open(system(street.birch), write=True) as db:
        _, url = create_dynamic_link(db, street.birch, street.ben.customer_id, settings=street.house.settings)
    one = people()
    path = urlsplit(url).path + "?next=" + quote(value, safe="")
    one.get(path)
    return one.post(path, follow=False, expect=303).location


def return_url(street: Street, people: Any, value: str) -> str:
    """A program of the business names it; its list of addresses decides. What is refused leads nowhere."""
    with street.house.database.open(system(street.birch), write=True) as db:
        business = db.scalars(select(Business).where(Business.business_id == street.birch)).one()
        business.settings = {**business.settings, "return_urls": ["https://shop.example/account"]}
    ask = f"/api/customers/{street.ben.customer_id}/customer-portal/session?return_url="
    program, key = street.app.test_client(), {"Authorization": f"Bearer {people.key}"}
    assert program.post(ask + "https://shop.example/account/1", headers=key).status_code == 200
    answer = program.post(ask + quote(value, safe=""), headers=key)
    assert answer.status_code in (200, 422), answer.json
    return "" if answer.status_code == 422 else value


def language(street: Street, people: Any, value: str) -> str:
    one = people()
    one.get("/login")
    return one.post("/language", {"language": "de", "next": value}, follow=False, expect=None).location


def logout(street: Street, people: Any, value: str) -> str:
    one = people()
    one.get("/login")
    return one.post("/logout", {"business_id": value, "next": value}, follow=False, expect=None).location


PARAMETERS = {
    "next when signing in": next_at_sign_in, "next of who is in": signed_in("/login?next="),
    "next at a business's door": signed_in("/login/{acorn}?next="), "next of a business's link": next_of_a_link,
    "return_url": return_url, "next of the language": language, "business_id when signing out": logout,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_no_parameter_leads_away(name: str, people: Any, street: Street) -> None:
    people.ada = people(street.ADA)
    with street.app.app_context(), street.house.database.open(system(street.birch), write=True) as db:
        people.key = new_key(db, street.birch, "Birch's program")[1]
    for value in AWAY[:6] if name == "next when signing in" else AWAY:  # a letter each
        location = PARAMETERS[name](street, people, value)
        assert stays_here(location), (name, value, location)
    at_ease_again(street)


def test_every_address_has_one_person(street: Street) -> None:
    """After all of this."""
    with street.house.database.open(everything("a test looks")) as db:
        keys = list(db.scalars(select(IdentityEmail.email_key)))
        mains = list(db.scalars(select(IdentityEmail.identity_id).where(IdentityEmail.is_primary.is_(True))))
    assert len(keys) == len(set(keys)) and len(mains) == len(set(mains))
