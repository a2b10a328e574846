"""Payments that need the bank's confirmation (3-D Secure): shown with the payment, continued, or paid with another card."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from billing.charging.ports import ChargeOutcome
from billing.model.payments import Payment
from billing.renewals import renew
from billing.renewals.pay_dues import pay_dues
from billing.subscriptions.subscribe import buy, subscribe
from core import clock
from core.scope import system
from tests import unpaid_renewals
from tests.cast import Cast
from tests.visitor import Page, Visitor


@pytest.fixture
def ada(visitor: Callable[..., Visitor], cast: Cast) -> Visitor:
    item = visitor()
    item.sign_in(cast.ADA)
    return item


def challenged_dues(cast: Cast) -> str:
    """Ada's subscription is on hold. She pays with a saved card that needs confirmation, and leaves. Returns the bank's page."""
    with cast.app.app_context():  # type: ignore[attr-defined]
        unpaid_renewals.hold(cast, cast.ada_at_acorn)
        asks = cast.card(cast.ada_at_acorn, unpaid_renewals.BANK_ASKS)
        paid = pay_dues(
            cast.services.processor,
            unpaid_renewals.scope_of(cast.ada_at_acorn),
            cast.ada_at_acorn.subscription_id,
            payment_method_id=asks,
            return_url="http://localhost/payments/{payment_id}",
        )
    assert paid.status == "requires_customer_action" and paid.link
    return paid.link


def challenged_renewal(cast: Cast, ada: Visitor) -> Payment:
    """A renewal without the customer present, for which the bank requires confirmation."""
    clock.turn(timedelta(days=32))
    with ada.app.app_context():
        payment_id = renew.prepare(cast.services.processor, cast.acorn, cast.ada_at_acorn.subscription_id)
        assert payment_id
        key = payment(cast, payment_id).key
        cast.services.processor.record(
            cast.acorn,
            payment_id,
            ChargeOutcome("requires_action", key, reference="op_1", redirect_url="http://localhost/sandbox/challenge/op_1"),
        )
    return payment(cast, payment_id)


def payment(cast: Cast, payment_id: str) -> Payment:
    with cast.services.database.open(system(cast.acorn)) as db:
        return db.scalars(select(Payment).where(Payment.id == payment_id)).one()


def links(page: Page, words: str) -> list[str]:
    return [item["href"] for item in page.soup.find_all("a") if words in item.get_text()]


def test_an_open_challenge_is_visible_with_continue_and_another_card(ada: Visitor, cast: Cast) -> None:
    cast.app = ada.app  # type: ignore[attr-defined]
    bank = challenged_dues(cast)
    url = f"/subscriptions/{cast.ada_at_acorn.subscription_id}"
    [open_one] = [payment for payment in unpaid_renewals.payments(cast, cast.ada_at_acorn) if payment.is_open]
    pages = ("/", f"/business/{cast.acorn}/", url, f"/invoices/{open_one.invoice_id}", f"/payments/{open_one.id}", url + "/payment-method")
    for path in pages:
        page = ada.get(path)
        assert links(page, "Continue") == [bank], path
        assert "don’t pay again" not in page.text, path
    for path in (url, f"/invoices/{open_one.invoice_id}", f"/payments/{open_one.id}"):
        assert links(ada.get(path), "Use another card") == [url + "/payment-method"], path
    ada.get(url + "/payment-method")
    ada.submit("/payment-method", method=cast.ada_at_acorn.method_id, later="yes")
    assert "Paid. Acorn Team is active again." in ada.page.text
    assert unpaid_renewals.taken(cast, cast.ada_at_acorn) == [2900]


def test_a_page_first_asks_to_confirm_and_later_reports_an_unknown_outcome(ada: Visitor, cast: Cast) -> None:
    cast.app = ada.app  # type: ignore[attr-defined]
    bank = challenged_dues(cast)
    [open_one] = [payment for payment in unpaid_renewals.payments(cast, cast.ada_at_acorn) if payment.is_open]
    back = f"/payments/{open_one.id}?status=succeeded"
    page = ada.get(back)  # she returned before the bank's result
    assert page.h1 == "Confirming with your bank…" and "don’t pay again" not in page.text
    again = page.soup.find("meta", {"http-equiv": "refresh"})["content"].split("url=")[1]
    assert f"/payments/{open_one.id}?status=look&since=" in again
    assert ada.get(again).h1 == "Confirming with your bank…"
    base, since = again.rsplit("=", 1)
    page = ada.get(f"{base}={int(since) - 40}")
    assert "don’t pay again" in page.text
    assert "Confirming" in ada.get(f"{base}={int(since) + 9999999}").h1  # a future date is shown as now
    with ada.app.app_context():
        cast.services.processor.record(
            cast.acorn, open_one.id, ChargeOutcome("processing", open_one.key)
        )  # the bank has answered the processor
    url = f"/subscriptions/{cast.ada_at_acorn.subscription_id}"
    for path in (url, f"/invoices/{open_one.invoice_id}", url + "/payment-method"):
        page = ada.get(path)
        assert "Confirming with your bank…" in page.text and "don’t pay again" not in page.text, path
    with ada.app.app_context():
        cast.services.processor.record(cast.acorn, open_one.id, ChargeOutcome("processing", open_one.key))  # and still has no result
    assert "don’t pay again" in ada.get(url).text
    assert len(unpaid_renewals.events(cast, cast.ada_at_acorn, "payment.processing")) == 1
    unpaid_renewals.confirm(cast, bank)
    unpaid_renewals.settle(cast)
    assert "Paid. Acorn Team is active again." in ada.get(f"/payments/{open_one.id}").text


def test_a_left_payment_page_is_reported_after_a_refresh_too(ada: Visitor, cast: Cast) -> None:
    with ada.app.app_context():
        unpaid_renewals.hold(cast, cast.ada_at_acorn)
        paid = pay_dues(cast.services.processor, unpaid_renewals.scope_of(cast.ada_at_acorn), cast.ada_at_acorn.subscription_id)
    page = ada.get(f"/payments/{paid.payment_id}?status=cancelled")
    again = page.soup.find("meta", {"http-equiv": "refresh"})["content"].split("url=")[1]
    assert "Not finished yet" in page.h1 and "Not finished yet" in ada.get(again).h1


def test_the_renewal_email_says_that_the_bank_wants_a_confirmation(ada: Visitor, cast: Cast) -> None:
    open_one = challenged_renewal(cast, ada)
    assert unpaid_renewals.subscription(cast, cast.ada_at_acorn).status == "active"
    [told] = [item for item in ada.emails(cast.ada_at_acorn.email) if "confirm a payment" in item.subject]
    assert "€29.00 for Acorn Team" in told.text and f"/business/{cast.acorn}/payments/{open_one.id}" in told.text
    assert "declined" not in told.text and "another card" in told.text
    url = f"/subscriptions/{cast.ada_at_acorn.subscription_id}"
    for path in ("/", url, f"/invoices/{open_one.invoice_id}", f"/payments/{open_one.id}"):
        assert links(ada.get(path), "Continue") == ["http://localhost/sandbox/challenge/op_1"], path


def test_another_card_pays_a_renewal_that_waits_for_a_confirmation(ada: Visitor, cast: Cast) -> None:
    challenged_renewal(cast, ada)
    url = f"/subscriptions/{cast.ada_at_acorn.subscription_id}"
    page = ada.get(url + "/payment-method")
    assert "€29.00" in page.text and links(page, "Continue")
    ada.submit("/payment-method", method=cast.card(cast.ada_at_acorn), later="yes")
    assert unpaid_renewals.taken(cast, cast.ada_at_acorn) == [2900]
    item = unpaid_renewals.subscription(cast, cast.ada_at_acorn)
    assert item.status == "active" and item.next_billing_at > clock.now()
    assert unpaid_renewals.events(cast, cast.ada_at_acorn, "subscription.on_hold", "subscription.past_due") == []
    assert [p.status for p in unpaid_renewals.payments(cast, cast.ada_at_acorn)] == ["cancelled", "succeeded"]


def test_an_unanswered_challenge_puts_on_hold_and_the_email_gives_the_reason(ada: Visitor, cast: Cast) -> None:
    with ada.app.app_context():
        unpaid_renewals.hold(cast, cast.ada_at_acorn, unpaid_renewals.BANK_ASKS)  # this processor declines off-session charges
    subject = "[test] Your bank needs you to confirm your Acorn Team payment"
    [message] = [item for item in ada.emails(cast.ada_at_acorn.email) if item.subject == subject]
    assert "The bank declined" not in message.text and "confirm it there" in message.text
    page = ada.get(f"/subscriptions/{cast.ada_at_acorn.subscription_id}/payment-method")
    assert "Your bank needs you to confirm this payment." in page.text and "declined" not in page.text.replace("Declined on", "")


def test_a_purchase_that_waits_for_the_bank_is_on_the_overview(ada: Visitor, cast: Cast) -> None:
    asks = cast.card(cast.ada_at_acorn, unpaid_renewals.BANK_ASKS)
    with ada.app.app_context():
        began = buy(
            cast.services.processor,
            system(cast.acorn),
            customer_id=cast.ada_at_acorn.customer_id,
            cart=[(cast.products["acorn.once"], 1)],
            payment_method_id=asks,
        )
    assert began.status == "requires_customer_action"
    assert links(ada.get("/"), "Continue") == [f"/payments/{began.payment_id}"]
    assert links(ada.get(f"/payments/{began.payment_id}"), "Continue")


def test_a_first_payment_that_waits_for_the_bank_can_be_continued(ada: Visitor, cast: Cast) -> None:
    with ada.app.app_context():
        began = subscribe(
            cast.services.processor, system(cast.acorn), customer_id=cast.ada_at_acorn.customer_id, product_id=cast.products["acorn.plan"]
        )
    assert began.status == "requires_payment_method" and began.link
    url = f"/subscriptions/{began.subscription_id}"
    for path in ("/", f"/business/{cast.acorn}/", url, f"/payments/{began.payment_id}"):
        assert links(ada.get(path), "Continue") == [began.link], path
    for path in ("/", url):  # she returns from that page, so the result is pending
        assert not links(ada.get(path + "?status=succeeded"), "Continue"), path
    with ada.app.app_context():
        page = unpaid_renewals.fill_in(cast, began.link, unpaid_renewals.BANK_ASKS)
        assert page.challenged
        cast.services.processor.check(cast.acorn, str(began.payment_id))
    assert links(ada.get(url), "Continue") and links(ada.get("/"), "Continue")  # which leads on to the bank's page
    with ada.app.app_context():
        cast.services.processor.cancel(cast.acorn, str(began.payment_id))
    assert not links(ada.get("/"), "Continue") and not links(ada.get(url), "Continue")
