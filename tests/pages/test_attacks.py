"""Attacks on identity and sign-in, each tried at the pages. See also tests/house/test_portal_link_reach.py (links of a business),

tests/browser/test_oidc_client.py (a business's own provider, mix-ups) and test_account_merging.py (linking).
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from sqlalchemy import select, update

from auth.models import BrowserSession, IdentityEmail
from auth.portal_links import create_dynamic_link
from billing.customers.customers import create_customer, update_customer
from billing.model.parties import Business, Customer
from core import clock
from core.scope import everything, system
from core.security import cookie_name
from tenants.api_keys import new_key
from tests.conftest import Street
from tests.pages.test_account_merging import asks, two_accounts_again, who
from tests.visitor import Visitor

pytestmark = pytest.mark.parametrize("street", ["sqlite"], indirect=True, scope="module")  # the engine does not matter here
AWAY = (
    "https://evil.example/",
    "//evil.example/",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "https:evil.example",
    "http://localhost@evil.example/",
    "http://localhost.evil.example/",
    "javascript:alert(1)",
    "data:text/html,x",
    "/\t/evil.example",
    "/\n/evil.example",
    " https://evil.example",
    "https://localhost:80@evil.example",
    "//localhost\\@evil.example",
    "/%0d%0aLocation:evil",
)


@pytest.fixture
def people(street: Street) -> Any:
    two_accounts_again(street)

    def make(email: str | None = None) -> Visitor:
        visitor = Visitor(street.app)
        if email:
            visitor.sign_in(email)
            two_accounts_again(street)
        return visitor

    return make


def session_cookie(street: Street, visitor: Visitor) -> str | None:
    found = visitor.client.get_cookie(cookie_name(street.services.settings, "signed-in"), domain="localhost")
    return found.value if found else None


def email_link(visitor: Visitor, email: str) -> str:
    return "/login/link/" + visitor.emails(email)[-1].text.split("/login/link/")[1].split()[0]


def email_code(visitor: Visitor, email: str) -> str:
    return re.search(r"asked to sign in: (\w{4} \w{4})", visitor.emails(email)[-1].text)[1]


def stays_here(location: str) -> bool:
    """Resolve a redirect as a browser does: backslashes are slashes, tabs and line ends are ignored."""
    seen = re.sub(r"[\t\r\n]", "", location).replace("\\", "/").strip()
    parts = urlsplit(seen)
    return not seen.startswith("//") and (not parts.scheme and not parts.netloc or parts.netloc == "localhost" and parts.scheme == "http")


# --- accounts made before their owner came


def test_an_account_created_in_advance_gives_no_access_to_its_victim(people: Any, street: Street) -> None:
    """Pre-hijacking: Mallory requests sign-in as Ada and adding Ada's address before Ada first signs in. Neither has an effect on Ada."""
    mallory = people()
    mallory.get("/login")
    mallory.submit("login", email="eve@later.example")
    assert who(street, "eve@later.example") is None, "asking makes nobody"
    with street.services.database.open(system(street.acorn), write=True) as db:
        create_customer(db, street.acorn, email=street.MALLORY, name="Mallory")
        create_customer(db, street.acorn, email="eve@later.example", name="Eve")
    two_accounts_again(street)
    mallory.sign_in(street.MALLORY)
    mallory.get("/profile/addresses")
    mallory.submit("/profile/addresses", email="eve@later.example")
    two_accounts_again(street)
    eve = people("eve@later.example")
    assert who(street, "eve@later.example") not in (None, who(street, street.MALLORY))
    assert "eve@later.example" not in mallory.get("/profile").text and street.MALLORY not in eve.get("/profile").text


def test_a_sign_in_email_requested_before_a_change_of_owner_is_invalid(people: Any, street: Street) -> None:
    """Mallory's request to add Ada's address stays open while Ada signs in. A later click by anyone adds nothing."""
    mallory = people(street.MALLORY)
    mallory.get("/profile/addresses")
    mallory.submit("/profile/addresses", email=street.ADA)
    path = email_link(mallory, street.ADA)
    two_accounts_again(street)
    ada = people(street.ADA)
    ada.get(path)
    assert "where you requested it" in ada.page.h1
    ada.post(path)
    people().post(path)
    assert who(street, street.ADA) != who(street, street.MALLORY)


# --- secondary mailboxes (safety 8)


def test_a_secondary_address_opens_its_own_rows_until_a_second_proof(people: Any, street: Street) -> None:
    weak_one = "ada@weak.example"
    with street.services.database.open(system(street.birch), write=True) as db:
        create_customer(db, street.birch, email=weak_one, name="Ada").accepted_at = clock.now()
    people(weak_one)
    ada = people(street.ADA)
    asks(ada, weak_one)
    ada.submit("/merges/")
    assert who(street, weak_one) == who(street, street.ADA)
    two_accounts_again(street)
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


# --- businesses


def test_a_business_that_renames_a_customer_gains_no_access(people: Any, street: Street) -> None:
    """Acorn stores Ben's address on Ada's record. Ben sees nothing of hers before he accepts, and both addresses are notified."""
    ada, ben = people(street.ADA), people(street.BEN)
    row = Customer.customer_id == street.ada_at_acorn.customer_id
    with street.services.database.open(system(street.acorn), write=True) as db:
        update_customer(db, db.scalars(select(Customer).where(row)).one(), email=street.BEN)
    assert "Acorn" not in ada.get("/subscriptions").text and "Birch" in ada.get("/subscriptions").text
    assert street.ADA not in ben.get("/profile").text and ada.emails(street.ADA)[-1].subject.startswith("[test] Acorn Notes changed")
    with street.services.database.open(system(street.acorn), write=True) as db:
        update_customer(db, db.scalars(select(Customer).where(row)).one(), email=street.ADA)
        db.scalars(select(Customer).where(row)).one().accepted_at = clock.now()


def test_a_portal_link_never_widens_a_session(people: Any, street: Street) -> None:
    """A link for Ada gives Mallory no identity, no sign-in proof and no action that needs one."""
    with street.services.database.open(system(street.acorn), write=True) as db:
        _, url = create_dynamic_link(db, street.acorn, street.ada_at_acorn.customer_id, settings=street.services.settings)
    mallory = people()
    mallory.open_link(url, "/session/")
    for path in ("/profile/addresses", "/profile/export", "/profile/closing", "/profile/passkeys", "/"):
        assert mallory.get(path).status == 200 and mallory.path.startswith("/login")
    mallory.post(f"/business/{street.acorn}/profile/email", {"email": street.MALLORY}, expect=403)
    mallory.post("/profile/addresses", {"email": street.MALLORY})
    assert mallory.path.startswith("/login")


# --- sessions


def test_sign_in_replaces_an_attackers_session_cookie(people: Any, street: Street) -> None:
    """Session fixation: sign-in issues a new cookie over Mallory's own, a made-up or an earlier one. The old cookie opens nothing."""
    mallory = people(street.MALLORY)
    name, pending_acceptance = cookie_name(street.services.settings, "signed-in"), session_cookie(street, mallory)
    for value in (pending_acceptance, "A" * 43):
        victim = people()
        victim.client.set_cookie(name, value, domain="localhost")
        victim.sign_in(street.ADA, "/login?again=1")
        two_accounts_again(street)
        assert session_cookie(street, victim) not in (None, pending_acceptance, value) and street.ADA in victim.get("/profile").text
    thief = people()
    thief.client.set_cookie(name, pending_acceptance, domain="localhost")
    assert street.ADA not in thief.get("/profile").text
    ada = people(street.ADA)
    before = session_cookie(street, ada)
    ada.sign_in(street.ADA, "/login?again=1")
    two_accounts_again(street)
    stale = people()
    stale.client.set_cookie(name, before, domain="localhost")
    assert stale.get("/profile").status == 200 and stale.path.startswith("/login"), "rotated at sign-in"


def test_a_cross_site_form_signs_nobody_in(people: Any, street: Street) -> None:
    """Login CSRF: Mallory's link or code in a victim's browser signs the victim in to no account."""
    mallory = people()
    mallory.get("/login")
    mallory.submit("login", email=street.MALLORY)
    path, code = email_link(mallory, street.MALLORY), email_code(mallory, street.MALLORY)
    victim = people(street.ADA)
    for origin in ("https://evil.example", "null"):
        from_there = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
        victim.post(path, {}, expect=400, headers=from_there)
        victim.post("/login/code", {"code": code}, expect=400, headers=from_there)
    victim.post(path, {}, token=False, expect=400)
    victim.get(path)
    assert street.ADA in victim.page.text and "will be signed out when you continue" in victim.page.text, "it says who is signed in now"
    assert street.MALLORY not in victim.page.text, "and a mask of whose link this is"
    victim.post(path, {}, expect=422)
    assert street.ADA in victim.get("/profile").text


def test_a_code_is_refused_in_another_browser(people: Any, street: Street) -> None:
    """Mallory learned Ada's code by reading along or by telephone."""
    ada, mallory = people(), people()
    ada.get("/login")
    ada.submit("login", email=street.ADA)
    code = email_code(ada, street.ADA)
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


def test_sensitive_changes_need_a_fresh_sign_in(people: Any, street: Street) -> None:
    """A browser left open on a shared computer can read. Every change to the account asks for an email first."""
    ada = people(street.ADA)
    with street.services.database.open(everything("a test lets time pass"), write=True) as db:
        db.execute(update(BrowserSession).values(proved_at=clock.wall() - timedelta(hours=1)))
    for path in (
        "/profile/addresses",
        "/profile/addresses/main",
        "/profile/addresses/removal",
        "/profile/email",
        "/profile/export",
        "/profile/closing",
        "/profile/passkeys",
    ):
        ada.post(path, {"email": street.MALLORY, "address": street.ADA, "confirmation": street.ADA})
        assert ada.path.startswith("/login?again=1"), path
    assert who(street, street.ADA)


# --- redirects


def next_at_sign_in(street: Street, people: Any, value: str) -> str:
    item = people()
    item.get("/login?next=" + quote(value))
    item.submit("login", email=street.ADA, next=value)
    path = email_link(item, street.ADA)
    item.get(path)
    two_accounts_again(street)
    return item.submit("/login/link/", follow=False, expect=303).location


def signed_in(path: str) -> Any:
    def go(street: Street, people: Any, value: str) -> str:
        item = people.ada
        return item.get(path.format(acorn=street.acorn) + quote(value, safe=""), follow=False, expect=None).location

    return go


def next_of_a_link(street: Street, people: Any, value: str) -> str:
    with street.services.database.open(system(street.birch), write=True) as db:
        _, url = create_dynamic_link(db, street.birch, street.ben.customer_id, settings=street.services.settings)
    item = people()
    path = urlsplit(url).path + "?next=" + quote(value, safe="")
    item.get(path)
    return item.post(path, follow=False, expect=303).location


def return_url(street: Street, people: Any, value: str) -> str:
    """A return URL of a business's program is checked against the business's list. A refused URL is not used."""
    with street.services.database.open(system(street.birch), write=True) as db:
        business = db.scalars(select(Business).where(Business.business_id == street.birch)).one()
        business.settings = {**business.settings, "return_urls": ["https://shop.example/account"]}
    ask = f"/api/customers/{street.ben.customer_id}/customer-portal/session?return_url="
    program, key = street.app.test_client(), {"Authorization": f"Bearer {people.key}"}
    assert program.post(ask + "https://shop.example/account/1", headers=key).status_code == 200
    answer = program.post(ask + quote(value, safe=""), headers=key)
    assert answer.status_code in (200, 422), answer.json
    return "" if answer.status_code == 422 else value


def language(street: Street, people: Any, value: str) -> str:
    item = people()
    item.get("/login")
    return item.post("/language", {"language": "de", "next": value}, follow=False, expect=None).location


def logout(street: Street, people: Any, value: str) -> str:
    item = people()
    item.get("/login")
    return item.post("/logout", {"business_id": value, "next": value}, follow=False, expect=None).location


PARAMETERS = {
    "next when signing in": next_at_sign_in,
    "next of who is in": signed_in("/login?next="),
    "next at a business's door": signed_in("/login/{acorn}?next="),
    "next of a business's link": next_of_a_link,
    "return_url": return_url,
    "next of the language": language,
    "business_id when signing out": logout,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_no_parameter_redirects_to_another_site(name: str, people: Any, street: Street) -> None:
    people.ada = people(street.ADA)
    with street.app.app_context(), street.services.database.open(system(street.birch), write=True) as db:
        people.key = new_key(db, street.birch, "Birch's program")[1]
    for value in AWAY[:6] if name == "next when signing in" else AWAY:  # one email each
        location = PARAMETERS[name](street, people, value)
        assert stays_here(location), (name, value, location)
    two_accounts_again(street)


def test_every_address_belongs_to_one_identity(street: Street) -> None:
    """Checked after all attacks above."""
    with street.services.database.open(everything("a test looks")) as db:
        keys = list(db.scalars(select(IdentityEmail.email_key)))
        mains = list(db.scalars(select(IdentityEmail.identity_id).where(IdentityEmail.is_primary.is_(True))))
    assert len(keys) == len(set(keys)) and len(mains) == len(set(mains))
