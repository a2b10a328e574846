"""A renewal fails and the customer pays the dues. Repeated clicks charge once."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import select

from billing.charging.ports import ChargeOutcome
from billing.model.invoices import Invoice
from billing.renewals.pay_dues import DuesResult, dues, pay_dues
from core.errors import Conflict, NotFound
from core.scope import system
from tests import unpaid_renewals
from tests.cast import Buyer, Cast


@pytest.fixture
def cast(processor_services: Any, engine: Any, past: Any) -> Cast:
    return past(engine).for_services(processor_services)


@pytest.fixture
def ada(cast: Cast) -> Buyer:
    unpaid_renewals.hold(cast, cast.ada_at_acorn)
    assert unpaid_renewals.subscription(cast, cast.ada_at_acorn).status == "on_hold"
    return cast.ada_at_acorn


def pay(cast: Cast, buyer: Buyer, method: str | None = None, **more: Any) -> DuesResult:
    return pay_dues(cast.services.processor, unpaid_renewals.scope_of(buyer), buyer.subscription_id, payment_method_id=method, **more)


def due(cast: Cast, buyer: Buyer) -> Any:
    with cast.services.database.open(unpaid_renewals.scope_of(buyer)) as db:
        return dues(db, buyer.subscription_id)


def test_a_new_card_pays_the_dues(cast: Cast, ada: Buyer) -> None:
    owed = due(cast, ada)
    assert (owed.error_code, owed.method.last4, owed.is_checking, owed.link) == ("GENERIC_DECLINE", "0341", False, None)
    assert sum(line.net_minor + line.tax_minor for line in owed.lines) == owed.total_minor == owed.due_minor == 2900

    declined = pay(cast, ada, cast.card(ada, unpaid_renewals.POOR))
    assert (declined.status, declined.error_code, declined.link) == ("failed", "INSUFFICIENT_FUNDS", None)
    assert unpaid_renewals.subscription(cast, ada).status == "on_hold" and due(cast, ada).error_code == "INSUFFICIENT_FUNDS"

    other = cast.card(ada, unpaid_renewals.BANK_ASKS)
    asked = pay(cast, ada, other, return_url="http://localhost/paid")
    assert asked.status == "requires_customer_action" and asked.link and "/challenge/" in asked.link
    assert due(cast, ada).link == asked.link and pay(cast, ada, other, return_url="http://localhost/paid") == asked
    unpaid_renewals.confirm(cast, asked.link)
    unpaid_renewals.settle(cast)

    item = unpaid_renewals.subscription(cast, ada)
    assert (item.status, item.payment_method_id, item.on_hold_at) == ("active", other, None) and due(cast, ada) is None
    assert unpaid_renewals.taken(cast, ada) == [2900]
    assert [p.status for p in unpaid_renewals.payments(cast, ada)] == ["failed", "failed", "succeeded"]
    (active,) = [e for e in unpaid_renewals.events(cast, ada, "subscription.active") if e.data.get("reactivated")]
    (chosen,) = unpaid_renewals.events(cast, ada, "subscription.update_payment_method")
    paid = unpaid_renewals.events(cast, ada, "payment.succeeded")[-1]
    assert paid.data["charge_type"] == "renewal" and chosen.data["payment_method_id"] == other and active.noun_id == ada.subscription_id
    with cast.services.database.open(system(ada.business_id)) as db:
        invoice = db.scalar(select(Invoice).where(Invoice.id == paid.data["invoice_id"]))
        assert invoice is not None and (invoice.status, invoice.kind) == ("paid", "renewal")


def test_a_failed_confirmation_keeps_the_subscription_on_hold(cast: Cast, ada: Buyer) -> None:
    asked = pay(cast, ada, cast.card(ada, unpaid_renewals.BANK_ASKS))
    unpaid_renewals.confirm(cast, asked.link or "", approved=False)
    unpaid_renewals.settle(cast)
    assert unpaid_renewals.subscription(cast, ada).status == "on_hold" and due(cast, ada).error_code == "AUTHENTICATION_REQUIRED"
    assert pay(cast, ada, ada.method_id).status == "succeeded" and unpaid_renewals.taken(cast, ada) == [2900]


def test_paying_once_with_another_card_keeps_the_card_of_later_renewals(cast: Cast, ada: Buyer) -> None:
    before = unpaid_renewals.subscription(cast, ada).payment_method_id
    assert pay(cast, ada, ada.method_id, use_from_now_on=False).status == "succeeded"
    assert unpaid_renewals.subscription(cast, ada).payment_method_id == before and not unpaid_renewals.events(
        cast, ada, "subscription.update_payment_method"
    )


@pytest.mark.parametrize("by", ["card", "page"])
def test_a_double_click_charges_once(cast: Cast, ada: Buyer, by: str) -> None:
    answers: list[Any] = []
    method = ada.method_id if by == "card" else None

    def click() -> None:
        try:
            answers.append(pay(cast, ada, method))
        except Conflict as refused:
            answers.append(refused.code)

    clicks = [threading.Thread(target=click) for _ in range(2)]
    for item in clicks:
        item.start()
    for item in clicks:
        item.join()
    assert len(answers) == 2 and len(unpaid_renewals.payments(cast, ada)) == 2  # the renewal that failed, and one more
    if by == "page":
        assert len({answer.link for answer in answers}) == 1 and answers[0].link
        unpaid_renewals.fill_in(cast, answers[0].link)
        unpaid_renewals.settle(cast)
    else:
        assert {getattr(answer, "status", answer) for answer in answers} <= {"succeeded", "PREVIOUS_PAYMENT_PENDING"}
    assert unpaid_renewals.taken(cast, ada) == [2900] and unpaid_renewals.subscription(cast, ada).status == "active"
    assert pay(cast, ada, method).status == "succeeded" and unpaid_renewals.taken(cast, ada) == [2900]  # a stale page's button


def test_an_unknown_outcome_blocks_a_second_payment_until_reconciled(cast: Cast, ada: Buyer, monkeypatch: Any) -> None:
    with monkeypatch.context() as silence:
        silence.setattr(cast.services.gateway, "look_up", lambda trace: ChargeOutcome("unknown", trace.key))
        assert pay(cast, ada, cast.card(ada, unpaid_renewals.LOST)).status == "processing"
        assert due(cast, ada).is_checking
        for method in (ada.method_id, None):
            with pytest.raises(Conflict) as refused:
                pay(cast, ada, method)
            assert refused.value.code == "PREVIOUS_PAYMENT_PENDING"
    unpaid_renewals.settle(cast)
    assert unpaid_renewals.subscription(cast, ada).status == "active" and unpaid_renewals.taken(cast, ada) == [2900]


def test_a_page_left_open_is_continued_or_replaced(cast: Cast, ada: Buyer) -> None:
    page = pay(cast, ada)
    assert page.status == "requires_payment_method" and pay(cast, ada) == page == DuesResult(
        page.status, page.payment_id, due(cast, ada).link
    )
    assert pay(cast, ada, ada.method_id).status == "succeeded"
    assert not cast.services.gateway.page(page.link.rsplit("/", 1)[1]).open  # type: ignore[union-attr]
    assert [p.status for p in unpaid_renewals.payments(cast, ada)] == ["failed", "cancelled", "succeeded"] and unpaid_renewals.taken(
        cast, ada
    ) == [2900]


def test_a_page_that_cannot_be_cancelled_now_is_not_replaced(cast: Cast, ada: Buyer, monkeypatch: Any) -> None:
    page = pay(cast, ada)
    monkeypatch.setattr(cast.services.gateway, "cancel", lambda trace: ChargeOutcome("unknown", trace.key))
    with pytest.raises(Conflict):
        pay(cast, ada, ada.method_id)
    unpaid_renewals.fill_in(cast, page.link or "", "4000000000000077")  # slow: neither cancelled nor paid yet
    with pytest.raises(Conflict):
        pay(cast, ada)
    assert due(cast, ada).is_checking and unpaid_renewals.taken(cast, ada) == []


def test_a_page_that_was_paid_meanwhile_is_not_paid_again(cast: Cast, ada: Buyer) -> None:
    page = pay(cast, ada)
    unpaid_renewals.fill_in(cast, page.link or "")
    assert pay(cast, ada, ada.method_id) == DuesResult("succeeded", page.payment_id) and unpaid_renewals.taken(cast, ada) == [2900]
    assert unpaid_renewals.subscription(cast, ada).payment_method_id not in (None, ada.method_id)


def test_leaving_the_hosted_page_changes_nothing(cast: Cast, ada: Buyer) -> None:
    page = pay(cast, ada)
    cast.services.gateway.leave_page((page.link or "").rsplit("/", 1)[1])
    unpaid_renewals.settle(cast)
    assert unpaid_renewals.subscription(cast, ada).status == "on_hold" and due(cast, ada).link is None
    again = pay(cast, ada)
    assert again.link and again.link != page.link


def test_dues_and_cards_of_others_are_not_found(cast: Cast, ada: Buyer) -> None:
    with pytest.raises(NotFound):
        pay_dues(cast.services.processor, unpaid_renewals.scope_of(cast.ben), ada.subscription_id, payment_method_id=cast.ben.method_id)
    for foreign in (cast.ben.method_id, cast.ada_at_birch.method_id):
        with pytest.raises(NotFound):
            pay(cast, ada, foreign)
    assert unpaid_renewals.taken(cast, ada) == []
