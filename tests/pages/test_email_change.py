"""A customer changes the address on file: confirmed from the new address, the old one is notified, at both doors."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from auth.portal_links import create_dynamic_link
from billing.model.parties import Customer
from core import clock
from core.mail import render_email
from core.outbox import Event
from core.scope import everything, system
from tests.conftest import Street
from tests.pages.test_account_merging import two_accounts_again, who
from tests.visitor import Visitor

pytestmark = pytest.mark.parametrize("street", ["sqlite"], indirect=True, scope="module")  # the rows themselves: test_account_merging.py


@pytest.fixture
def ada(street: Street) -> Visitor:
    two_accounts_again(street)
    visitor = Visitor(street.app)
    visitor.sign_in(street.ADA)
    return visitor


def known_as(street: Street, buyer: Any) -> str:
    with street.services.database.open(everything("a test looks")) as db:
        return db.scalars(select(Customer.email_key).where(Customer.customer_id == buyer.customer_id)).one()


def link_to(visitor: Visitor, email: str) -> str:
    return "/login/link/" + visitor.emails(email)[-1].text.split("/login/link/")[1].split()[0]


def test_the_new_address_confirms_and_the_old_one_is_notified(ada: Visitor, street: Street) -> None:
    new = "ada@new.example"
    ada.get("/profile/email")
    ada.submit("/profile/email", email="no address", expect=422)
    ada.submit("/profile/email", email=new, to=[street.ada_at_birch.customer_id, street.ben.customer_id])
    assert known_as(street, street.ada_at_birch) == street.ADA, "nothing changes before the new address says yes"
    path, mallory = link_to(ada, new), Visitor(street.app)
    assert "enter this code" not in ada.emails(new)[-1].text
    assert "where you requested it" in mallory.get(path).h1
    mallory.post(path)
    assert known_as(street, street.ada_at_birch) == street.ADA
    ada.get(path)
    ada.submit("/login/link/")
    assert ada.path == "/profile"
    assert [known_as(street, item) for item in (street.ada_at_birch, street.ada_at_acorn, street.ben)] == [new, street.ADA, street.BEN]
    told = [message for message in ada.emails() if "email address was changed" in message.subject]
    assert {message.to for message in told} == {street.ADA, new} and "Birch Hosting: ada@new.example" in told[0].text
    assert "Birch" in ada.get("/subscriptions").text, "what was bought stays in sight"
    with street.services.database.open(system(street.birch)) as db:
        said = db.scalars(select(Event).where(Event.type == "profile.edited")).all()
    assert [(item.customer_id, item.data, item.actor_type) for item in said] == [
        (street.ada_at_birch.customer_id, {"fields": ["email"]}, "customer")
    ]
    ada.get(path, expect=410)


def test_a_change_at_a_business_door_changes_that_business_only(ada: Visitor, street: Street) -> None:
    url, new = f"/business/{street.acorn}/profile/email", "ada@acorn-only.example"
    ada.get(url)
    ada.submit("/profile/email", email=new)
    ada.get(link_to(ada, new))
    ada.submit("/login/link/")
    assert ada.path == f"/business/{street.acorn}/profile"
    assert known_as(street, street.ada_at_acorn) == new and known_as(street, street.ada_at_birch) != new


def test_the_address_of_another_identity_is_refused(ada: Visitor, street: Street) -> None:
    ben = Visitor(street.app)
    ben.sign_in(street.BEN)
    two_accounts_again(street)
    ada.get("/profile/email")
    ada.submit("/profile/email", email=street.BEN)
    before = known_as(street, street.ada_at_acorn)
    ada.get(link_to(ada, street.BEN))
    ada.submit("/login/link/", expect=409)
    assert known_as(street, street.ada_at_acorn) == before and who(street, street.BEN) != who(street, street.ADA)


def test_a_portal_link_session_cannot_change_the_address(street: Street) -> None:
    guest = Visitor(street.app)
    with street.services.database.open(system(street.birch), write=True) as db:
        _row, url = create_dynamic_link(db, street.birch, street.ben.customer_id, settings=street.services.settings)
    guest.open_link(url, "/session/")
    page = guest.get(f"/business/{street.birch}/profile")
    assert "/profile/email" not in page.body.decode()
    guest.get(f"/business/{street.birch}/profile/email", expect=403)
    guest.post(f"/business/{street.birch}/profile/email", {"email": "thief@void.example"}, expect=403)
    assert not guest.emails("thief@void.example") and known_as(street, street.ben) == street.BEN


def test_names_are_escaped_in_account_emails(street: Street) -> None:
    values = {"what": "passkey_added", "detail": "<b>Key</b>", "at": clock.wall(), "url": "https://portal.example"}
    with street.app.app_context():
        _, text, html = render_email("account_changed", "en", to="ada@marlow.example", **values)
    assert "<b>Key</b>" in text and "&lt;b&gt;Key&lt;/b&gt;" in html and "<b>Key" not in html
