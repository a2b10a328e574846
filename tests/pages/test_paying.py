"""Paying dues, changing and removing payment methods, through the pages and the sandbox's own forms."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from auth.models import BrowserSession
from billing.model.payments import PaymentMethod
from core import clock
from core.scope import everything
from tests import unpaid_renewals
from tests.cast import Cast
from tests.visitor import Visitor

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both


@pytest.fixture
def ada(visitor: Callable[..., Visitor], cast: Cast) -> Visitor:
    item = visitor()
    item.sign_in(cast.ADA)
    return item


def row(cast: Cast, kind: Any, *where: Any) -> Any:
    with cast.services.database.open(everything("look at a row")) as db:
        return db.scalar(select(kind).where(*where))


def held(cast: Cast, ada: Visitor, prefix: str = "") -> str:
    """Ada's subscription at Acorn is on hold, and her dues page is open."""
    with ada.app.app_context():
        unpaid_renewals.hold(cast, cast.ada_at_acorn)
        ada.services.worker.drain()
    url = f"{prefix}/subscriptions/{cast.ada_at_acorn.subscription_id}/payment-method"
    ada.get(url)
    return url


def settle(cast: Cast, ada: Visitor) -> None:
    cast.services.gateway.deliver_due()
    ada.services.worker.drain()


def type_card(ada: Visitor, number: str, expect: int = 200) -> Any:
    return ada.submit("/sandbox/pages/", number=number, expiry="06/40", cvc="123", name="Ada Marlow", expect=expect)


def test_a_decline_is_followed_by_a_card_with_a_confirmation(ada: Visitor, cast: Cast) -> None:
    prefix = f"/business/{cast.acorn}"
    poor = cast.card(cast.ada_at_acorn, unpaid_renewals.POOR)
    url = held(cast, ada, prefix)
    assert "€29.00" in ada.page.text and "Due to Acorn Notes" in ada.page.text and "Invoice" in ada.page.text
    page = ada.submit("/payment-method", method=poor)
    assert ada.path == url and "The bank declined your Visa ending 9995" in page.text and "insufficient funds" in page.text
    assert page.soup.find("input", {"name": "method", "checked": True})["value"] != poor
    ada.submit("/payment-method", method="new", later="yes")
    assert ada.path.startswith("/sandbox/pages/")
    type_card(ada, unpaid_renewals.BANK_ASKS)
    ada.submit("/sandbox/challenge/", answer="approve")
    assert ada.path.startswith(f"{prefix}/payments/pay_")
    settle(cast, ada)
    page = ada.get(ada.path)
    assert "Paid. Acorn Team is active again." in page.text and "It next renews on" in page.text
    assert unpaid_renewals.taken(cast, cast.ada_at_acorn) == [2900]
    item = unpaid_renewals.subscription(cast, cast.ada_at_acorn)
    emails = ada.emails(cast.ada_at_acorn.email)[-2:]
    subjects = [item.subject for item in emails]
    assert sorted(subjects) == ["[test] Acorn Team is active again", "[test] Paid: €29.00 to Acorn Notes"]
    paper = next(item for item in emails if "Paid" in item.subject).attachments
    assert paper[0]["filename"].endswith(".pdf") and base64.b64decode(paper[0]["data"]).startswith(b"%PDF")
    assert item.status == "active" and row(cast, PaymentMethod, PaymentMethod.id == item.payment_method_id).last4 == "3155"


def test_a_double_click_charges_once(ada: Visitor, cast: Cast) -> None:
    good = cast.card(cast.ada_at_acorn)
    url = held(cast, ada)
    form = {item["name"]: item["value"] for item in ada.page.form("/payment-method").find_all("input", {"type": "hidden"})}
    first = ada.post(url, {**form, "method": good}, follow=False, expect=303)
    second = ada.post(url, {**form, "method": good}, follow=False, expect=303)
    assert first.location == second.location and "/payments/pay_" in first.location
    assert "Paid. Acorn Team is active again." in ada.get(first.location).text
    assert unpaid_renewals.taken(cast, cast.ada_at_acorn) == [2900]
    assert "visa" not in ada.get(f"/subscriptions/{cast.ada_at_acorn.subscription_id}").text  # a name, not a code
    kept = unpaid_renewals.subscription(cast, cast.ada_at_acorn).payment_method_id
    assert row(cast, PaymentMethod, PaymentMethod.id == kept).last4 == "0341"  # not ticked: the old card stays


def test_an_unknown_outcome_offers_no_second_payment(ada: Visitor, cast: Cast) -> None:
    lost = cast.card(cast.ada_at_acorn, unpaid_renewals.LOST)
    url = held(cast, ada)
    page = ada.post(url, {"due": "inv_other 1", "method": "new"}, expect=409)
    assert "The amount has changed" in page.text and "€29.00" in page.text
    assert "Choose a payment method." in ada.post(url, {"due": ""}, expect=422).text
    ada.post(url, {"method": cast.ben.method_id}, expect=404)
    assert unpaid_renewals.taken(cast, cast.ada_at_acorn) == []
    ada.get(url)
    page = ada.submit("/payment-method", method=lost, later="yes")
    assert "We don’t know yet whether your payment went through" in page.text and page.soup.find("meta", {"http-equiv": "refresh"})
    page = ada.get(ada.path + "?stay=1")
    assert not page.soup.find("meta", {"http-equiv": "refresh"})
    page = ada.get(url)
    assert "Checking your payment" in page.text and "don’t pay again" in page.text and not page.soup.find("input", {"name": "method"})
    assert "We’re checking" in ada.get("/").text
    settle(cast, ada)
    assert unpaid_renewals.taken(cast, cast.ada_at_acorn) == [2900]


def test_a_new_card_on_an_old_session_needs_a_fresh_sign_in(ada: Visitor, cast: Cast) -> None:
    url = held(cast, ada)
    ada.submit("/payment-method", method="new")
    ada.submit("/cancel")
    settle(cast, ada)
    page = ada.get(ada.path)
    assert "You weren’t charged" in page.text and "€29.00 is still due for Acorn Team" in page.text
    assert ada.get("/").soup.find("a", string=lambda text: text and "Pay €29.00" in text) or "Pay €29.00" in ada.page.text
    with cast.services.database.open(everything("age the session"), write=True) as db:
        browser_session = db.scalar(select(BrowserSession))
        browser_session.created_at = browser_session.proved_at = clock.wall() - timedelta(days=2)
    page = ada.get(url)
    assert "we’ll email you first" in page.text
    assert ada.submit("/payment-method", follow=False, expect=303, method="new").location.startswith("/login?again=1&next=")
    ada.get("/payment-methods")
    adding = ada.post("/payment-methods", {"customer_id": cast.ada_at_acorn.customer_id}, follow=False, expect=303)
    assert adding.location.startswith("/login?again=1&next=")


def test_another_card_is_used_from_now_on(ada: Visitor, cast: Cast) -> None:
    other = cast.card(cast.ada_at_acorn, "5555555555554444")
    for prefix, first in (("", other), (f"/business/{cast.acorn}", None)):
        url = f"{prefix}/subscriptions/{cast.ada_at_acorn.subscription_id}/payment-method"
        ada.get(url)
        if first:
            assert "Mastercard ending 4444 is now used for Acorn Team." in ada.submit("/payment-method", method=first).text
            subjects = [item.subject for item in ada.emails(cast.ada_at_acorn.email)]
            assert "[test] Acorn Team has a new payment method" in subjects
            continue
        ada.submit("/payment-method", method="new")
        type_card(ada, "4242424242424242")
        settle(cast, ada)
        assert "Visa ending 4242 is now used for Acorn Team." in ada.get(ada.path).text
        assert "€0" not in ada.get(f"{prefix}/billing-history").text


def test_payment_methods_are_added_reassigned_and_removed(ada: Visitor, cast: Cast) -> None:
    buyer = cast.ada_at_acorn
    ada.get(f"/payment-methods/{buyer.method_id}/removal")
    page = ada.post(f"/payment-methods/{buyer.method_id}/removal", expect=409)
    assert "Acorn Team uses it. Choose another payment method there first." in page.text
    ada.get("/payment-methods")
    ada.post("/payment-methods", {"customer_id": buyer.customer_id})
    type_card(ada, "5555555555554444")
    settle(cast, ada)
    assert "Mastercard ending 4444 is saved with Acorn Notes." in ada.get(ada.path).text
    new = row(cast, PaymentMethod, PaymentMethod.last4 == "4444").id
    ada.get("/payment-methods")
    assert "is now used for one more subscription" in ada.submit(f"{new}/everything").text
    assert "is now the default" in ada.submit(f"{new}/default").text
    ada.get(f"/payment-methods/{buyer.method_id}/removal")
    assert "was removed and won’t be charged again" in ada.submit(f"{buyer.method_id}/removal").text
    ada.get(f"/payment-methods/{buyer.method_id}/removal", expect=404)
    ada.post("/payment-methods", {"customer_id": cast.ben.customer_id}, expect=404)
    for path in (
        f"/payments/{cast.ben.payment_id}",
        f"/subscriptions/{cast.ben.subscription_id}/payment-method",
        f"/payment-methods/{cast.ben.method_id}/removal",
    ):
        ada.get(path, expect=404)
        ada.get(f"/business/{cast.birch}{path}", expect=404)
    for path in (
        f"/subscriptions/{cast.ben.subscription_id}/payment-method",
        f"/payment-methods/{cast.ben.method_id}/removal",
        f"/payment-methods/{cast.ben.method_id}/default",
        f"/payment-methods/{cast.ben.method_id}/everything",
    ):
        ada.post(path, {"method": "new"}, expect=404)
