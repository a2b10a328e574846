"""The secret in the session cookie changes whenever the session gains access. The earlier one opens nothing."""

from __future__ import annotations

from typing import Any

import pytest

from auth.portal_links import create_dynamic_link
from billing.customers.customers import create_customer
from core.scope import Actor, system
from tests.pages.test_added_addresses import later

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both

NAME, OLD = "signed-in-test", "ada@old.example"


def reference(item: Any) -> str:
    cookie = item.client.get_cookie(NAME)
    return cookie.value if cookie else ""


def opens(visitor: Any, value: str, path: str) -> bool:
    """Whether a browser with only this secret gets the page."""
    other = visitor()
    other.client.set_cookie(NAME, value)
    return other.get(path, follow=False, expect=None).status == 200


def follow_link(cast: Any, item: Any) -> None:
    with cast.services.database.open(system(cast.birch), write=True) as db:
        _, url = create_dynamic_link(db, cast.birch, cast.ben.customer_id, actor=Actor("api_key", "key_1"))
    path = url.split("localhost")[1]
    item.get(path)
    item.submit("/session/")


def test_the_reference_changes_when_a_portal_link_joins_a_session(cast: Any, visitor: Any) -> None:
    ada = visitor()
    ada.sign_in(cast.ADA)
    before = reference(ada)
    follow_link(cast, ada)
    after = reference(ada)
    assert before and after not in ("", before)
    assert ada.get(f"/business/{cast.birch}/").status == 200 and ada.get("/subscriptions").status == 200  # she is still signed in
    assert not opens(visitor, before, f"/business/{cast.birch}/") and not opens(visitor, before, "/subscriptions")
    assert opens(visitor, after, "/subscriptions")


def test_the_reference_changes_with_every_further_link(cast: Any, visitor: Any) -> None:
    somebody, seen = visitor(), set()
    for _ in range(3):
        follow_link(cast, somebody)
        seen.add(reference(somebody))
    assert len(seen) == 3 and "" not in seen


def test_the_reference_changes_at_sign_in_over_a_link(cast: Any, visitor: Any) -> None:
    ada = visitor()
    follow_link(cast, ada)
    before = reference(ada)
    ada.sign_in(cast.ADA)
    assert reference(ada) != before and not opens(visitor, before, f"/business/{cast.birch}/")


@pytest.fixture
def ada_with_two(cast: Any, visitor: Any, services: Any) -> Any:
    """Ada, who proved a second address just now; `.before`: her secret until then."""
    with services.database.open(system(cast.acorn), write=True) as db:
        create_customer(db, cast.acorn, email=OLD, name="Ada Marlow")
    ada = visitor()
    ada.sign_in(cast.ADA)
    ada.before = reference(ada)
    ada.get("/profile/addresses")
    ada.submit("/profile/addresses", email=OLD)
    path = "/login/link/" + ada.emails(OLD)[-1].text.split("/login/link/")[1].split()[0]
    ada.get(path)
    ada.submit("/login/link/")
    return ada


def test_the_reference_changes_with_a_new_address(ada_with_two: Any, visitor: Any) -> None:
    assert OLD in ada_with_two.get("/profile/addresses").text
    assert reference(ada_with_two) != ada_with_two.before and not opens(visitor, ada_with_two.before, "/subscriptions")


def test_the_reference_changes_with_another_main_address(ada_with_two: Any, visitor: Any) -> None:
    before = reference(ada_with_two)
    ada_with_two.get("/profile/addresses")
    ada_with_two.post("/profile/addresses/main", {"address": OLD})
    assert reference(ada_with_two) != before and not opens(visitor, before, "/subscriptions")
    assert ada_with_two.get("/subscriptions").status == 200


def test_the_reference_changes_when_accounts_are_merged(cast: Any, visitor: Any, services: Any) -> None:
    with services.database.open(system(cast.acorn), write=True) as db:
        create_customer(db, cast.acorn, email="ada@other.example", name="Ada Marlow")
    other, ada = visitor(), visitor()
    other.sign_in("ada@other.example")
    later(services)
    ada.sign_in(cast.ADA)
    ada.get("/profile/addresses")
    ada.post("/profile/addresses", {"email": "ada@other.example"})
    path = "/login/link/" + [item.text for item in ada.emails("ada@other.example")][-1].split("/login/link/")[1].split()[0]
    ada.get(path)
    ada.submit("/login/link/")
    before = reference(ada)
    ada.submit("/merges/")
    assert "accounts are merged" in ada.page.text
    assert reference(ada) != before and not opens(visitor, before, "/subscriptions")


def test_the_reference_stays_when_nothing_more_is_opened(cast: Any, visitor: Any) -> None:
    ada = visitor()
    ada.sign_in(cast.ADA)
    before = reference(ada)
    for path in ("/", "/subscriptions", "/profile", f"/login/{cast.acorn}"):
        ada.get(path)
    assert reference(ada) == before
