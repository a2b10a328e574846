"""Paying what is due, changing and removing methods, through the pages and the pretend provider's own forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from auth.models import BrowserSession
from billing.payments import Payment, PaymentMethod
from billing.subscriptions import Subscription
from core import clock
from core.scope import everything
from tests import unpaid
from tests.cast import Cast
from tests.visitor import Visitor


@pytest.fixture
def ada(visitor: Callable[..., Visitor], cast: Cast) -> Visitor:
    one = visitor()
    one.sign_in(cast.ADA)
    return one


def row(cast: Cast, kind: Any, *where: Any) -> Any:
    with cast.house.database.open(everything("look at a row")) as db:
        return db.scalar(select(kind).where(*where))


def held(cast: Cast, ada: Visitor, prefix: str = "") -> str:
    """Ada's subscription at Acorn is on hold; she stands before its dues."""
    with ada.app.app_context():
        unpaid.hold(cast, cast.ada_at_acorn)
        ada.house.worker.drain()
    url = f"{prefix}/subscriptions/{cast.ada_at_acorn.subscription_id}/payment-method"
    ada.get(url)
    return url


def settle(cast: Cast, ada: Visitor) -> None:
    cast.house.gateway.deliver_due()
    ada.house.worker.drain()


def type_card(ada: Visitor, number: str, expect: int = 200) -> Any:
    return ada.submit("/sandbox/pages/", number=number, expiry="06/40", cvc="123", name="Ada Marlow", expect=expect)


@pytest.mark.parametrize("door", ["unified", "business"])
def test_declined_then_a_card_that_the_bank_asks_about(ada: Visitor, cast: Cast, door: str) -> None:
    prefix = "" if door == "unified" else f"/business/{cast.acorn}"
    poor = cast.card(cast.ada_at_acorn, unpaid.POOR)
    url = held(cast, ada, prefix)
    assert "€29.00" in ada.page.text and "Due to Acorn Notes" in ada.page.text and "Invoice" in ada.page.text
    page = ada.submit("/payment-method", method=poor)
    assert ada.path == url and "The bank declined your Visa ending 9995" in page.text and "there was not enough money on it" in page.text
    assert page.soup.find("input", {"name": "method", "checked": True})["value"] != poor
    ada.submit("/payment-method", method="new", later="yes")
    assert ada.path.startswith("/sandbox/pages/")
    type_card(ada, unpaid.BANK_ASKS)
    ada.submit("/sandbox/challenge/", answer="approve")
    assert ada.path.startswith(f"{prefix}/payments/pay_")
    settle(cast, ada)
    page = ada.get(ada.path)
    assert "Paid. Acorn Team is active again." in page.text and "It next renews on" in page.text
    assert unpaid.taken(cast, cast.ada_at_acorn) == [2900]
    one = unpaid.subscription(cast, cast.ada_at_acorn)
    assert one.status == "active" and row(cast, PaymentMethod, PaymentMethod.id == one.payment_method_id).last4 == "3155"
