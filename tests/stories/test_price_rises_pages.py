"""A price rise through the console, the API and the pages of the customer: ordered, answered, refused, stopped."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing.model.price_changes import PriceChange, SubscriptionPriceChange
from billing.model.subscriptions import Subscription
from billing.renewals import dunning, renew
from core import clock
from core.outbox import Event
from core.scope import everything, system
from tenants.api_keys import new_key
from tenants.memberships import invite
from tests.cast import Cast
from tests.visitor import Visitor

pytestmark = pytest.mark.one_engine  # what people see and type; test_price_rises.py runs the commands on both


@pytest.fixture
def sam(visitor: Callable[..., Visitor], cast: Cast) -> Visitor:
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        invite(db, cast.acorn, cast.SAM, "owner")
    sam = visitor()
    sam.sign_in(cast.SAM)
    sam.get("/console")
    sam.submit("acceptance", follow=False, expect=303)
    return sam


@pytest.fixture
def ada(visitor: Callable[..., Visitor], cast: Cast) -> Visitor:
    ada = visitor()
    ada.sign_in(cast.ADA)
    return ada


def lives_in(cast: Cast, country: str, days: float = 50) -> None:
    """Ada's subscription at Acorn has an address in this country and renews in some days."""
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        row = db.scalars(select(Subscription)).one()
        row.billing = {**row.billing, "country": country}
        row.next_billing_at = row.anchor_at = clock.now() + timedelta(days=days)
        row.anchor_n = row.period_n


def work(cast: Cast, later: timedelta = timedelta(0)) -> None:
    clock.turn(clock.offset() + later)
    for _ in range(2):
        dunning.run_due(cast.services.processor)
    cast.services.worker.drain(housekeeping=False)


def status(cast: Cast) -> tuple[str, str | None, int]:
    with cast.services.database.open(everything("a story reads")) as db:
        row = db.scalars(select(SubscriptionPriceChange)).one()
        price = db.scalars(select(Subscription.unit_minor).where(Subscription.id == row.subscription_id)).one()
        return row.status, row.answer, price


def ordered(sam: Visitor, cast: Cast, amount: str = "30.00", days: int = 40) -> str:
    """Sam orders the price in the console. Returns the address of the page."""
    url = f"/console/{cast.acorn}/products/{cast.products['acorn.plan']}"
    assert f"{url}/price-changes" in str(sam.get(url).soup)
    sam.get(f"{url}/price-changes")
    date = (clock.now() + timedelta(days=days)).date().isoformat()
    seen = sam.submit("price-changes", amount=amount, date=date, direction="raise", step="preview")
    assert "The price of one subscription changes." in seen.text and "€24.17" in seen.text and "€30.00" in seen.text
    done = sam.submit("price-changes", amount=amount, date=date, direction="raise", step="order")
    assert "The new price is ordered." in done.text
    return f"{url}/price-changes"


def emails(ada: Visitor, cast: Cast) -> list[Any]:
    return [email for email in ada.emails(cast.ada_at_acorn.email) if "The price of Acorn Team" in email.subject]


@pytest.mark.parametrize(("said", "flash", "price"), [("accepted", "You agreed.", 3000), ("refused", "You keep your price.", 2417)])
def test_the_console_orders_and_the_customer_answers(sam: Visitor, ada: Visitor, cast: Cast, said: str, flash: str, price: int) -> None:
    lives_in(cast, "FR")
    url = ordered(sam, cast)
    work(cast)
    assert emails(ada, cast) == [], "45 days before"
    work(cast, timedelta(days=6))
    (email,) = emails(ada, cast)
    address = re.search(r"http://localhost(/business/\S+/price-change)", email.text)
    assert address and address[1] in email.html and "agree" in email.text and "/cancellation" in email.html
    subscription = ada.get(f"/subscriptions/{cast.ada_at_acorn.subscription_id}")
    assert "New price" in subscription.text and "if you agree" in subscription.text
    page = ada.get(f"/subscriptions/{cast.ada_at_acorn.subscription_id}/price-change")
    assert page.h1 == "New price of Acorn Team" and "€24.17" in page.text and "€30.00" in page.text
    change = page.form("price-change").find("input", {"name": "change"})["value"]
    path = f"/subscriptions/{cast.ada_at_acorn.subscription_id}/price-change"
    assert flash in ada.post(path, {"change": change, "answer": said}).text
    assert status(cast) == ("announced", said, 2417)
    assert ("You agreed to the new price." if said == "accepted" else "You chose to keep your price.") in ada.get(path).text
    assert f"agreed {int(said == 'accepted')}, refused {int(said == 'refused')}" in sam.get(url).text
    with cast.services.database.open(everything("a story reads")) as db:
        (event,) = db.scalars(select(Event).where(Event.type == f"subscription.price_change_{said}"))
        assert event.actor_type == "customer", "provable: who, when and what"
    shown = ada.get(f"/subscriptions/{cast.ada_at_acorn.subscription_id}").text
    assert ("€30.00" if said == "accepted" else "€24.17") in shown
    clock.turn(clock.offset() + timedelta(days=45))
    renew.run_due(cast.services.processor)
    assert status(cast) == ("applied" if said == "accepted" else "kept", said, price)
    assert "no price change to answer" in ada.get(path).text
    assert ada.post(path, {"change": change, "answer": "accepted"}, expect=409).status == 409


def test_hostile_answers_change_nothing(sam: Visitor, ada: Visitor, visitor: Callable[..., Visitor], cast: Cast) -> None:
    lives_in(cast, "FR", 40)
    ordered(sam, cast, days=30)
    work(cast)
    path = f"/subscriptions/{cast.ada_at_acorn.subscription_id}/price-change"
    ada.get(path)
    ada.post(path, {"answer": "accepted"}, expect=409)
    ada.post(path, {"answer": "accepted", "change": "spr_x"}, expect=409)
    change = ada.get(path).form("price-change").find("input", {"name": "change"})["value"]
    ada.post(path, {"answer": "<b>", "change": change}, expect=422)
    ada.post(path, {"answer": "accepted", "change": change}, token=False, expect=400)
    ben = visitor()
    ben.sign_in(cast.BEN)
    ben.get(path, expect=404)
    ben.get("/profile")
    ben.post(path, {"answer": "accepted", "change": change}, expect=404)
    assert status(cast) == ("announced", None, 2417)


def test_where_notice_is_enough_the_page_offers_to_cancel(sam: Visitor, ada: Visitor, cast: Cast) -> None:
    lives_in(cast, "GB", 40)
    ordered(sam, cast, days=30)
    work(cast)
    (email,) = emails(ada, cast)
    assert "/price-change" not in email.text and "cancel before that day" in email.text
    page = ada.get(f"/subscriptions/{cast.ada_at_acorn.subscription_id}/price-change")
    assert "without your consent" in page.text and not page.soup.find("button", {"name": "answer"})
    assert page.soup.find("a", href=re.compile("/cancellation$"))


def test_a_stop_in_the_console_tells_the_customer(sam: Visitor, ada: Visitor, cast: Cast) -> None:
    lives_in(cast, "GB", 40)
    url = ordered(sam, cast, days=30)
    work(cast)
    sam.get(url)
    assert "The price change is stopped." in sam.submit("/stop").text
    work(cast)
    assert [email.subject for email in emails(ada, cast)][-1] == "[test] The price of Acorn Team stays the same"
    assert status(cast)[0] == "stopped" and "Stopped" in sam.get(url).text
    assert "New price" not in ada.get(f"/subscriptions/{cast.ada_at_acorn.subscription_id}").text


def test_the_form_names_what_is_wrong(sam: Visitor, cast: Cast) -> None:
    url = f"/console/{cast.acorn}/products/{cast.products['acorn.plan']}/price-changes"
    sam.get(url)
    for values, message in (
        ({"amount": "free", "date": "2027-06-01"}, "Enter an amount in EUR"),
        ({"amount": "30", "date": "soon"}, "Enter a date"),
        ({"amount": "30", "date": "9999-12-31"}, "Choose a date within a year."),
        ({"amount": "30", "date": ""}, "Enter a date"),
    ):
        assert message in sam.post(url, {**values, "step": "order"}, expect=422).text
        sam.get(url)
    sam.post(url, {"amount": "24.17", "date": clock.now().date().isoformat(), "step": "order"}, expect=409)
    sam.get(f"/console/{cast.acorn}/products/{cast.products['acorn.once']}/price-changes", expect=404)
    with cast.services.database.open(everything("a story reads")) as db:
        assert not list(db.scalars(select(PriceChange)))


def test_a_program_previews_orders_reads_and_stops(ada: Visitor, cast: Cast) -> None:
    lives_in(cast, "DE", 40)
    with ada.app.app_context(), cast.services.database.open(system(cast.acorn), write=True) as db:
        _row, key = new_key(db, cast.acorn, "A program")
    program, plan = ada.app.test_client(), f"/api/products/{cast.products['acorn.plan']}/price-changes"

    def call(method: str, path: str, **body: Any) -> tuple[int, Any]:
        answer = program.open(path, method=method, headers={"Authorization": f"Bearer {key}"}, **({"json": body} if body else {}))
        return answer.status_code, answer.get_json()

    at = (clock.now() + timedelta(days=20)).isoformat()
    code, seen = call("POST", f"{plan}/preview", price=3000, effective_at=at)
    assert (code, seen["subscriptions"], seen["old_total"], seen["new_total"], seen["currency"]) == (200, 1, 2417, 3000, "EUR")
    (place,) = seen["places"]
    assert (place["place"], place["needs_consent"], place["notice_days"], place["subscriptions"]) == ("DE", True, 30, 1)
    assert datetime.fromisoformat(place["earliest_at"]) - clock.now() > timedelta(days=29)
    for wrong in ({"price": -1}, {"price": "30"}, {"price": 3000.5}, {"effective_at": "tomorrow"}, {"direction": "up"}, {"extra": 1}):
        assert call("POST", plan, **{"price": 3000, "effective_at": at, **wrong})[0] == 422, wrong
    assert call("POST", plan, price=2417, effective_at=at)[1]["code"] == "NOTHING_TO_CHANGE"
    assert call("POST", f"/api/products/{cast.products['birch.plan']}/price-changes", price=9900, effective_at=at)[0] == 404
    code, made = call("POST", plan, price=3000, effective_at=at)
    assert (code, made["price"], made["direction"], made["stopped_at"], made["subscriptions"]) == (200, 3000, "raise", None, {})
    work(cast)
    (listed,) = call("GET", plan)[1]["items"]
    assert listed["price_change_id"] == made["price_change_id"] and listed["subscriptions"] == {"announced": 1}
    assert call("POST", f"/api/price-changes/{made['price_change_id']}/stop")[1]["stopped_at"]
    assert call("POST", "/api/price-changes/prc_unknown/stop")[0] == 404
    work(cast)
    assert status(cast) == ("stopped", None, 2417)
