"""What a customer does to what they have: the page says what it costs and when, the button does exactly that, or nothing happens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from auth.models import BrowserSession
from billing.catalogue import Product
from billing.commands.licensing import activate
from billing.licences import LicenseKey
from billing.payments import Payment
from billing.subscriptions import Subscription
from core import clock
from core.scope import everything, system
from core.web import House
from tests.cast import Cast
from tests.visitor import Visitor


@pytest.fixture
def ada(visitor: Callable[..., Visitor], cast: Cast) -> Visitor:
    one = visitor()
    one.sign_in(cast.ADA)
    return one


def of(cast: Cast) -> str:
    return f"/subscriptions/{cast.ada_at_acorn.subscription_id}"


def row(house: House, kind: Any, *where: Any) -> Any:
    with house.database.open(everything("look at a row")) as db:
        return db.scalar(select(kind).where(*where))


def subscription(cast: Cast) -> Subscription:
    return row(cast.house, Subscription, Subscription.id == cast.ada_at_acorn.subscription_id)


def change_of_plan(cast: Cast) -> Payment | None:
    return row(cast.house, Payment, Payment.charge_type == "plan_change")


def prove(house: House, hours_ago: int) -> None:
    """Everybody's proof of who they are is that old."""
    with house.database.open(everything("time passes"), write=True) as db:
        for one in db.scalars(select(BrowserSession)):
            one.proved_at = clock.wall() - timedelta(hours=hours_ago)


def test_an_upgrade_charges_exactly_what_the_slip_said(ada: Visitor, cast: Cast) -> None:
    clock.turn(timedelta(days=15))
    page = ada.get(of(cast) + "/plan-change")
    assert "What you have now." in page.text and "Moves up now." in page.text and "€70.80 a month" in page.text
    page = ada.submit("quotes", product_id=cast.products["acorn.more"])
    assert page.h1 == "From Acorn Team to Acorn Max" and "paid and not used" in page.text
    slip, action = ada.path, page.form("confirmation")["action"]

    prove(cast.house, hours_ago=1)
    assert "Show that it is you" in ada.get(slip).text
    assert "/login?again=1" in ada.post(action, follow=False, expect=303).location and change_of_plan(cast) is None
    prove(cast.house, hours_ago=0)

    with cast.house.database.open(system(cast.acorn), write=True) as db:
        db.scalar(select(Product).where(Product.id == cast.products["acorn.more"])).price_minor = 6900
    ada.get(slip)
    page = ada.submit("confirmation")
    assert "The price changed. Here are the new figures; nothing was taken." in page.text and change_of_plan(cast) is None

    button = page.form("confirmation").find("button").get_text()
    amount = int(button.removeprefix("Pay €").removesuffix(" and change").replace(".", ""))
    assert 0 < amount < 8280
    page = ada.submit("confirmation")
    assert page.h1 == "Acorn Max" and "Paid. Acorn Max is yours now." in page.text
    paid = change_of_plan(cast)
    assert paid is not None and paid.amount_minor == amount and paid.status == "succeeded"


def test_a_downgrade_waits_and_can_be_taken_back(ada: Visitor, cast: Cast) -> None:
    ada.get(of(cast) + "/plan-change")
    ada.submit("quotes", product_id=cast.products["acorn.more"])
    ada.submit("confirmation")
    assert "Moves down on" in ada.get(of(cast) + "/plan-change").text
    page = ada.submit("quotes", product_id=cast.products["acorn.plan"])
    assert page.form("confirmation").find("button").get_text().startswith("Change on ")
    page = ada.submit("confirmation")
    assert page.h1 == "Acorn Max" and "Acorn Team begins on" in page.text and "Your plan changes to Acorn Team that day." in page.text
    assert "€29.00" in page.soup.find(attrs={"aria-labelledby": "nextcharge"}).get_text()
    ada.get(of(cast) + "/plan-change")
    assert "A change is planned already." in ada.page.text and ada.path == of(cast)
    page = ada.submit("revocation")
    assert "taken back" in page.text and "€70.80" in page.soup.find(attrs={"aria-labelledby": "nextcharge"}).get_text()
    assert "You planned a change to Acorn Team" in page.text and "You took the planned change back." in page.text
    subjects = [one.subject for one in ada.letters(cast.ADA)]
    assert "[test] Your plan is now Acorn Max" in subjects and "[test] Your plan changes to Acorn Team" in subjects


def test_pausing_going_on_and_ending_now(ada: Visitor, cast: Cast) -> None:
    page = ada.get(of(cast) + "/pause")
    assert "Access stops at once" in page.text
    page = ada.submit("/pause")
    assert "Acorn Team is paused." in page.text and subscription(cast).status == "paused"
    clock.turn(timedelta(days=10))
    assert "Resume Acorn Team?" in ada.get(of(cast) + "/pause").h1
    assert "goes on. It next renews on" in ada.submit("resumption").text and subscription(cast).status == "active"
    subjects = [one.subject for one in ada.letters(cast.ADA)]
    assert "[test] Acorn Team is paused" in subjects and "[test] Acorn Team goes on" in subjects
    assert ada.get(of(cast)).text.count("You paused it.") == 1

    prove(cast.house, hours_ago=1)
    page = ada.get(of(cast) + "/cancellation")
    assert "We ask you to sign in again first." in page.text
    back = ada.submit("cancellation", when="now", feedback="unused", follow=False, expect=303)
    assert "/login?again=1" in back.location and "when%3Dnow" in back.location and subscription(cast).status == "active"
    ada.sign_in(cast.ADA, back.location)
    assert ada.page.soup.find("input", {"value": "now"}).has_attr("checked")
    page = ada.submit("cancellation")
    assert "Acorn Team has ended. Nothing more is taken." in page.text
    assert (subscription(cast).status, subscription(cast).cancellation_feedback) == ("cancelled", "unused")
    assert "[test] Acorn Team has ended" in [one.subject for one in ada.letters(cast.ADA)]


def test_papers_and_places(ada: Visitor, cast: Cast) -> None:
    """Billing details keep what was typed; a correction is a second document; a place of use is freed."""
    ada.get(of(cast) + "/billing-details")
    page = ada.submit("billing-details", expect=422, name="", business_name="Marlow <Studio>", tax_id="GB 12", street="1 New Street")
    assert "This is not a tax number of this country." in page.text and "2 things need another look" in page.text
    assert page.soup.find("input", {"name": "business_name"})["value"] == "Marlow <Studio>"
    assert page.soup.find("option", selected=True)["value"] == "GB"
    page = ada.submit("billing-details", name="Ada Marlow", tax_id="GB 980 7806 84", business_name="Marlow Studio Ltd")
    assert "Saved." in page.text and "Marlow Studio Ltd" in page.text and subscription(cast).billing["street"] == "1 New Street"

    ada.get(of(cast))
    path = next(one["href"] for one in ada.page.soup.select("a[href^='/invoices/']") if ".pdf" not in one["href"])
    ada.get(path)
    ada.get(path + "/correction")
    assert ada.submit("correction", expect=422).text.count("Nothing is different.") >= 1
    page = ada.submit("correction", name="Ada Marlow", business_name="Marlow Studio Ltd", tax_id="GB980780684")
    papers = [one["href"] for one in page.soup.select("#documents a.get")]
    assert len(papers) == 2
    first, second = (ada.get(one).body for one in papers)
    assert first[:5] == second[:5] == b"%PDF-" and first != second
    assert [one.subject for one in ada.letters(cast.ADA) if "Corrected invoice" in one.subject]

    key = row(cast.house, LicenseKey, LicenseKey.customer_id == cast.ada_at_acorn.customer_id)
    with cast.house.database.open(system(cast.acorn), write=True) as db:
        activate(db, key.id, "Old laptop")
    assert "1 of 3 places in use" in ada.get("/license-keys").text
    assert "The place is free again." in ada.submit("release").text and "not in use" in ada.page.text or "0 of 3" in ada.page.text


def test_what_is_declined_not_allowed_or_not_ones_own(ada: Visitor, cast: Cast, visitor: Callable[..., Visitor]) -> None:
    poor = cast.card(cast.ada_at_acorn, "4000000000009995")
    with cast.house.database.open(system(cast.acorn), write=True) as db:
        db.scalar(select(Subscription).where(Subscription.id == cast.ada_at_acorn.subscription_id)).payment_method_id = poor
    ada.get(of(cast) + "/plan-change")
    ada.submit("quotes", product_id=cast.products["acorn.more"])
    page = ada.submit("confirmation")
    assert "Nothing was taken. Acorn Team stays as it is." in page.text
    assert subscription(cast).product_id == cast.products["acorn.plan"]
    assert ada.submit("quotes").form("confirmation")

    birch = f"/subscriptions/{cast.ada_at_birch.subscription_id}"
    assert "asks you to contact it" in ada.get(birch + "/plan-change", expect=403).text
    assert "asks you to contact it" in ada.get(birch + "/pause", expect=403).text
    token = ada.get("/profile") and ada.token()
    ada.post(birch + "/plan-change/quotes", {"product_id": cast.products["birch.more"], "csrf_token": token}, expect=403)
    ada.post(birch + "/pause", {"csrf_token": token}, expect=403)
    ada.post(of(cast) + "/pause/resumption", {"csrf_token": token}, expect=409)
    ben = visitor()
    ben.sign_in(cast.BEN)
    for path in ("/plan-change", "/pause", "/billing-details", "/cancellation"):
        ben.get(of(cast) + path, expect=404)
    token = ben.get("/profile") and ben.token()
    for path in ("/plan-change/quotes", "/plan-change/revocation", "/pause", "/pause/resumption", "/billing-details"):
        ben.post(of(cast) + path, {"csrf_token": token}, expect=404)
    ben.post(of(cast) + "/cancellation", {"when": "now", "csrf_token": token}, expect=404)
