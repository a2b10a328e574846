"""A customer changes the address businesses know them by: confirmed from the new one, told to the old one, at both doors."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from auth.links import create_dynamic_link
from billing.parties import Customer
from core.outbox import Event
from core.scope import everything, system
from tests.conftest import Street
from tests.pages.test_merging import at_ease_again, who
from tests.visitor import Visitor

pytestmark = pytest.mark.parametrize("street", ["sqlite"], indirect=True, scope="module")  # the rows themselves: test_merging.py


@pytest.fixture
def ada(street: Street) -> Visitor:
    at_ease_again(street)
    one = Visitor(street.app)
    one.sign_in(street.ADA)
    return one


def known_as(street: Street, buyer: Any) -> str:
    with street.house.database.open(everything("a test looks")) as db:
        return db.scalars(select(Customer.email_key).where(Customer.customer_id == buyer.customer_id)).one()


def link_to(visitor: Visitor, email: str) -> str:
    return "/login/link/" + visitor.letters(email)[-1].text.split("/login/link/")[1].split()[0]


def test_the_new_address_confirms_and_the_old_one_hears(ada: Visitor, street: Street) -> None:
    new = "ada@new.example"
    ada.get("/profile/email")
    ada.submit("/profile/email", email="no address", expect=422)
    ada.submit("/profile/email", email=new, to=[street.ada_at_birch.customer_id, street.ben.customer_id])
    assert known_as(street, street.ada_at_birch) == street.ADA, "nothing changes before the new address says yes"
    path, mallory = link_to(ada, new), Visitor(street.app)
    assert "type this code" not in ada.letters(new)[-1].text
    assert "where you asked" in mallory.get(path).h1
    mallory.post(path)
    assert known_as(street, street.ada_at_birch) == street.ADA
    ada.get(path)
    ada.submit("/login/link/")
    assert ada.path == "/profile"
    assert [known_as(street, one) for one in (street.ada_at_birch, street.ada_at_acorn, street.ben)] == [new, street.ADA, street.BEN]
    told = [letter for letter in ada.letters() if "e-mail address was changed" in letter.subject]
    assert {letter.to for letter in told} == {street.ADA, new} and "Birch Hosting: ada@new.example" in told[0].text
    assert "Birch" in ada.get("/subscriptions").text, "what was bought stays in sight"
    with street.house.database.open(system(street.birch)) as db:
        said = db.scalars(select(Event).where(Event.type == "profile.edited")).all()
    assert [(one.customer_id, one.data, one.actor_type) for one in said] == [
        (street.ada_at_birch.customer_id, {"fields": ["email"]}, "customer")]
    ada.get(path, expect=410)


def test_at_a_business_door_it_is_that_business_only(ada: Visitor, street: Street) -> None:
    url, new = f"/business/{street.acorn}/profile/email", "ada@acorn-only.example"
    ada.get(url)
    ada.submit("/profile/email", email=new)
    ada.get(link_to(ada, new))
    ada.submit("/login/link/")
    assert ada.path == f"/business/{street.acorn}/profile"
    assert known_as(street, street.ada_at_acorn) == new and known_as(street, street.ada_at_birch) != new


def test_somebody_elses_address_is_not_taken(ada: Visitor, street: Street) -> None:
    ben = Visitor(street.app)
    ben.sign_in(street.BEN)
    at_ease_again(street)
    ada.get("/profile/email")
    ada.submit("/profile/email", email=street.BEN)
    before = known_as(street, street.ada_at_acorn)
    ada.get(link_to(ada, street.BEN))
    ada.submit("/login/link/", expect=409)
    assert known_as(street, street.ada_at_acorn) == before and who(street, street.BEN) != who(street, street.ADA)


def test_a_business_link_never_changes_it(street: Street) -> None:
    guest = Visitor(street.app)
    with street.house.database.open(system(street.birch), write=True) as db:
        _row, url = create_dynamic_link(db, street.birch, street.ben.customer_id, settings=street.house.settings)
    guest.open_link(url, "/session/")
    page = guest.get(f"/business/{street.birch}/profile")
    assert "/profile/email" not in page.body.decode()
    guest.get(f"/business/{street.birch}/profile/email", expect=403)
    guest.post(f"/business/{street.birch}/profile/email", {"email": "thief@void.example"}, expect=403)
    assert not guest.letters("thief@void.example") and known_as(street, street.ben) == street.BEN
