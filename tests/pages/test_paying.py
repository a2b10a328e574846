"""Paying what is due, changing and removing methods, through the pages and the pretend provider's own forms."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from auth.models import BrowserSession
from billing.payments import PaymentMethod
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


def test_declined_then_a_card_that_the_bank_asks_about(ada: Visitor, cast: Cast) -> None:
    prefix = f"/business/{cast.acorn}"
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
    letters = ada.letters(cast.ada_at_acorn.email)[-2:]
    subjects = [one.subject for one in letters]
    assert sorted(subjects) == ["[test] Acorn Team is active again", "[test] Paid: €29.00 to Acorn Notes"]
    paper = next(one for one in letters if "Paid" in one.subject).attachments
    assert paper[0]["filename"].endswith(".pdf") and base64.b64decode(paper[0]["data"]).startswith(b"%PDF")
    assert one.status == "active" and row(cast, PaymentMethod, PaymentMethod.id == one.payment_method_id).last4 == "3155"


def test_two_clicks_take_the_amount_once(ada: Visitor, cast: Cast) -> None:
    good = cast.card(cast.ada_at_acorn)
    url = held(cast, ada)
    form = {one["name"]: one["value"] for one in ada.page.form("/payment-method").find_all("input", {"type": "hidden"})}
    first = ada.post(url, {**form, "method": good}, follow=False, expect=303)
    second = ada.post(url, {**form, "method": good}, follow=False, expect=303)
    assert first.location == second.location and "/payments/pay_" in first.location
    assert "Paid. Acorn Team is active again." in ada.get(first.location).text
    assert unpaid.taken(cast, cast.ada_at_acorn) == [2900]
    assert "visa" not in ada.get(f"/subscriptions/{cast.ada_at_acorn.subscription_id}").text  # a name, not a code
    kept = unpaid.subscription(cast, cast.ada_at_acorn).payment_method_id
    assert row(cast, PaymentMethod, PaymentMethod.id == kept).last4 == "0341"  # not ticked: the old card stays


def test_what_cannot_be_done_is_said_and_an_unknown_outcome_offers_no_second_payment(ada: Visitor, cast: Cast) -> None:
    lost = cast.card(cast.ada_at_acorn, unpaid.LOST)
    url = held(cast, ada)
    page = ada.post(url, {"due": "inv_other 1", "method": "new"}, expect=409)
    assert "The amount has changed" in page.text and "€29.00" in page.text
    assert "Choose what to pay with." in ada.post(url, {"due": ""}, expect=422).text
    ada.post(url, {"method": cast.ben.method_id}, expect=404)
    assert unpaid.taken(cast, cast.ada_at_acorn) == []
    ada.get(url)
    page = ada.submit("/payment-method", method=lost, later="yes")
    assert "We do not know yet whether your payment went through" in page.text and page.soup.find("meta", {"http-equiv": "refresh"})
    page = ada.get(ada.path + "?stay=1")
    assert not page.soup.find("meta", {"http-equiv": "refresh"})
    page = ada.get(url)
    assert "Checking your payment" in page.text and "do not pay again" in page.text and not page.soup.find("input", {"name": "method"})
    assert "We are checking" in ada.get("/").text
    settle(cast, ada)
    assert unpaid.taken(cast, cast.ada_at_acorn) == [2900]


def test_leaving_takes_nothing_and_a_new_card_on_an_old_session_wants_a_proof(ada: Visitor, cast: Cast) -> None:
    url = held(cast, ada)
    ada.submit("/payment-method", method="new")
    ada.submit("/cancel")
    settle(cast, ada)
    page = ada.get(ada.path)
    assert "Nothing was taken" in page.text and "€29.00 is still due for Acorn Team" in page.text
    assert ada.get("/").soup.find("a", string=lambda text: text and "Pay €29.00" in text) or "Pay €29.00" in ada.page.text
    with cast.house.database.open(everything("age the session"), write=True) as db:
        one = db.scalar(select(BrowserSession))
        one.created_at = one.proved_at = clock.wall() - timedelta(days=2)
    page = ada.get(url)
    assert "We first send you a letter" in page.text
    assert ada.submit("/payment-method", follow=False, expect=303, method="new").location.startswith("/login?again=1&next=")
    ada.get("/payment-methods")
    adding = ada.post("/payment-methods", {"customer_id": cast.ada_at_acorn.customer_id}, follow=False, expect=303)
    assert adding.location.startswith("/login?again=1&next=")


def test_another_card_from_now_on(ada: Visitor, cast: Cast) -> None:
    other = cast.card(cast.ada_at_acorn, "5555555555554444")
    for prefix, first in (("", other), (f"/business/{cast.acorn}", None)):
        url = f"{prefix}/subscriptions/{cast.ada_at_acorn.subscription_id}/payment-method"
        ada.get(url)
        if first:
            assert "Mastercard ending 4444 now pays for Acorn Team." in ada.submit("/payment-method", method=first).text
            subjects = [one.subject for one in ada.letters(cast.ada_at_acorn.email)]
            assert "[test] Acorn Team is paid with another method now" in subjects
            continue
        ada.submit("/payment-method", method="new")
        type_card(ada, "4242424242424242")
        settle(cast, ada)
        assert "Visa ending 4242 now pays for Acorn Team." in ada.get(ada.path).text
        assert "€0" not in ada.get(f"{prefix}/billing-history").text


def test_methods_are_added_moved_and_removed(ada: Visitor, cast: Cast) -> None:
    buyer = cast.ada_at_acorn
    ada.get(f"/payment-methods/{buyer.method_id}/removal")
    page = ada.post(f"/payment-methods/{buyer.method_id}/removal", expect=409)
    assert "Acorn Team is paid with it. Choose another way to pay there first." in page.text
    ada.get("/payment-methods")
    ada.post("/payment-methods", {"customer_id": buyer.customer_id})
    type_card(ada, "5555555555554444")
    settle(cast, ada)
    assert "Mastercard ending 4444 is saved with Acorn Notes." in ada.get(ada.path).text
    new = row(cast, PaymentMethod, PaymentMethod.last4 == "4444").id
    ada.get("/payment-methods")
    assert "now pays for one more subscription" in ada.submit(f"{new}/everything").text
    assert "is offered first" in ada.submit(f"{new}/default").text
    ada.get(f"/payment-methods/{buyer.method_id}/removal")
    assert "is removed" in ada.submit(f"{buyer.method_id}/removal").text
    ada.get(f"/payment-methods/{buyer.method_id}/removal", expect=404)
    ada.post("/payment-methods", {"customer_id": cast.ben.customer_id}, expect=404)
    for path in (f"/payments/{cast.ben.payment_id}", f"/subscriptions/{cast.ben.subscription_id}/payment-method",
                 f"/payment-methods/{cast.ben.method_id}/removal"):
        ada.get(path, expect=404)
        ada.get(f"/business/{cast.birch}{path}", expect=404)
    for path in (f"/subscriptions/{cast.ben.subscription_id}/payment-method", f"/payment-methods/{cast.ben.method_id}/removal",
                 f"/payment-methods/{cast.ben.method_id}/default", f"/payment-methods/{cast.ben.method_id}/everything"):
        ada.post(path, {"method": "new"}, expect=404)
