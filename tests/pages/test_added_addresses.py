"""A person adds the address of an older purchase and sees both histories. Clicks of other people add nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from auth.models import BrowserSession, RateLimitCount
from billing.customers.customers import create_customer
from core import clock
from core.scope import everything, system

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both


def later(services: Any) -> None:
    """Reset the limits of sign-in emails."""
    with services.database.open(everything("a test lets time pass"), write=True) as db:
        for row in db.scalars(select(RateLimitCount)):
            row.window_start -= timedelta(days=8)


def test_a_second_address_brings_its_history(cast: Any, visitor: Any, services: Any) -> None:
    old = "ada@old.example"
    with services.database.open(system(cast.acorn), write=True) as db:
        create_customer(db, cast.acorn, email=old, name="Ada Marlow")
    ada, mallory = visitor(), visitor()
    ada.sign_in(cast.ADA)
    ada.get("/profile/addresses")
    ada.submit("/profile/addresses", email="no address", expect=422)
    ada.submit("/profile/addresses", email=old)
    text = ada.emails(old)[-1].text
    assert "enter this code" not in text
    path = "/login/link/" + text.split("/login/link/")[1].split()[0]
    assert "where you requested it" in mallory.get(path).h1
    mallory.post(path)
    ada.get(path)
    ada.submit("/login/link/")
    assert old in ada.page.text and ada.path == "/profile/addresses"
    told = {message.to for message in ada.emails() if "address was added" in message.subject}
    assert told == {cast.ADA, old}

    later(services)
    weak = visitor()
    weak.sign_in(old)
    assert "opens only its own" in weak.get("/profile/addresses").text
    ada.get("/profile/addresses")
    ada.submit("/removal")
    assert old not in ada.page.text.replace("Browsers", "")
    weak.get("/profile/addresses")
    assert weak.path.startswith("/login")


def test_an_old_sign_in_asks_for_an_email_first(cast: Any, visitor: Any, services: Any) -> None:
    ada = visitor()
    ada.sign_in(cast.ADA)
    with services.database.open(everything("a test lets time pass"), write=True) as db:
        db.execute(update(BrowserSession).values(proved_at=clock.wall() - timedelta(hours=2)))
    page = ada.get("/profile/addresses")
    assert "we’ll email you first" in page.text
    ada.post("/profile/addresses", {"email": "other@marlow.example"})
    assert ada.path.startswith("/login?again=1") and not ada.emails("other@marlow.example")
