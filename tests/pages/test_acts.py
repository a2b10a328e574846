"""What a customer does to what they have: the page says what it costs and when, the button does exactly that, or nothing happens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from auth.models import BrowserSession
from billing.catalogue import Product
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


def grow_old(house: House) -> None:
    """Everybody's proof of who they are is an hour old."""
    with house.database.open(everything("an hour passes"), write=True) as db:
        for one in db.scalars(select(BrowserSession)):
            one.proved_at = clock.wall() - timedelta(hours=1)


def test_an_upgrade_charges_exactly_what_the_slip_said(ada: Visitor, cast: Cast) -> None:
    clock.turn(timedelta(days=15))
    page = ada.get(of(cast) + "/plan-change")
    assert "What you have now." in page.text and "Moves up now." in page.text and "€70.80 a month" in page.text
    page = ada.submit("quotes", product_id=cast.products["acorn.more"])
    assert page.h1 == "From Acorn Team to Acorn Max" and "paid and not used" in page.text
    button = page.form("confirmation").find("button").get_text()
    amount = int(button.removeprefix("Pay €").removesuffix(" and change").replace(".", ""))
    assert 0 < amount < 7080
    page = ada.submit("confirmation")
    assert page.h1 == "Acorn Max" and "Paid. Acorn Max is yours now." in page.text
    paid = change_of_plan(cast)
    assert paid is not None and paid.amount_minor == amount and paid.status == "succeeded"
