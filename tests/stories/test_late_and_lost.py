"""Answers that are late, lost, repeated or out of order, and two of everything at once: booked once, refunded where due."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing import renewals
from billing.commands.buying import buy
from billing.commands.cancelling import end
from billing.commands.refunding import refund
from billing.invoices import Invoice
from billing.notifications import GatewayNotification
from billing.payments import Payment, Refund
from billing.ports import Outcome
from billing.subscriptions import Subscription
from core import clock
from core.errors import Conflict
from core.money import Money
from core.scope import everything, system
from gateways.sandbox import SandboxGateway
from tests.stories.restart import dies, start
from tests.stories.shop import Shop, turn_to


@pytest.fixture
def shop(till_house: Any) -> Shop:
    return Shop.open(till_house)


def at_once(*deeds: Callable[[], object]) -> list[object]:
    """Run them in threads that begin together. What one of them raises is raised here."""
    gate, came, errors = threading.Barrier(len(deeds)), [], []

    def run(deed: Callable[[], object]) -> None:
        gate.wait()
        try:
            came.append(deed())
        except Exception as problem:
            errors.append(problem)

    threads = [threading.Thread(target=run, args=(deed,)) for deed in deeds]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    if errors:
        raise errors[0]
    return came


def settle(shop: Shop) -> None:
    """Work until nothing is open."""
    for _ in range(60):
        shop.overdue()
        shop.work()
        if not shop.rows(Payment, is_open=True) and not shop.rows(Refund, status="pending"):
            return
        time.sleep(0.05)
    raise AssertionError("something stays open")


def unsent(shop: Shop) -> str:
    """A purchase whose process died right after writing it."""
    product, card = shop.product({"type": "one_time_price", "currency": "EUR", "price": 2900}), shop.card()
    assert dies(shop, lambda child: buy(child.till, system(child.business_id), customer_id=child.customer_id, cart=[(product, 1)],
                                        payment_method_id=card), "after", 1)
    return shop.rows(Payment, is_open=True)[0].id


def slowly(shop: Shop, seconds: float) -> None:
    shop.gateway.turn_knob("settle_after", seconds)
    shop.gateway.turn_knob("next_charge", "slow")


@pytest.mark.parametrize("how", ["lost card", "slow card", "lost", "slow"])
def test_an_answer_that_comes_late_or_never(shop: Shop, how: str) -> None:
    shop.gateway.turn_knob("settle_after", 0.2)
    if "card" in how:
        began = shop.subscribe(card="4000000000006975" if "lost" in how else "4000000000000259")
    else:
        shop.gateway.turn_knob("next_charge", how)
        began = shop.subscribe()
    assert began.status == "processing"
    assert shop.rows(Payment)[0].unknown and shop.subscription().status == "pending"
    settle(shop)
    assert shop.subscription().status == "active" and len(shop.charges()) == 1
    shop.balanced()


def test_two_clicks_at_once_are_one_charge(shop: Shop) -> None:
    one = unsent(shop)
    assert set(at_once(*[lambda: shop.till.start(shop.business_id, one)] * 4)) == {"succeeded"}
    assert len(shop.charges()) == 1 == len(shop.rows(Invoice)) == shop.events().count("payment.succeeded")
    shop.balanced()


def test_two_first_purchases_at_once_take_two_numbers(shop: Shop) -> None:
    product, card = shop.product({"type": "one_time_price", "currency": "EUR", "price": 2900}), shop.card()
    came = at_once(*[lambda: buy(shop.till, system(shop.business_id), customer_id=shop.customer_id, cart=[(product, 1)],
                                 payment_method_id=card).status] * 4)
    settle(shop)
    assert set(came) <= {"succeeded", "processing"} and len(shop.charges()) == 4
    assert sorted(one.number for one in shop.rows(Invoice)) == [f"ACO-{n:04d}" for n in range(1, 5)]
    shop.balanced()


def test_two_workers_renew_at_once(shop: Shop) -> None:
    for _ in range(4):
        shop.subscribe()
    turn_to(shop.subscription().next_billing_at + timedelta(minutes=1))
    other = start(shop.house)
    at_once(*[lambda one=one: renewals.run_due(one) for one in (shop.till, other.till)])
    settle(shop)
    other.database.dispose()
    assert len(shop.charges()) == 8 == len(shop.rows(Invoice, status="paid"))
    assert {one.period_n for one in shop.rows(Subscription)} == {2}
    shop.balanced()


def test_money_that_arrives_after_the_cancellation_goes_back_once(shop: Shop) -> None:
    shop.subscribe()
    slowly(shop, 0.3)
    shop.pass_period()
    with shop.database.open(system(shop.business_id), write=True) as db:
        end(db, db.scalar(select(Subscription).where(Subscription.id == shop.subscription_id).with_for_update()))
    settle(shop)
    assert shop.subscription().status == "cancelled"
    assert sorted(one.status for one in shop.rows(Invoice)) == ["paid", "void"]
    assert [(one.status, one.amount_minor, one.invoice_id) for one in shop.rows(Refund)] == [("succeeded", 2900, None)]
    settle(shop)
    shop.balanced()


def test_a_purchase_given_up_and_paid_after_all_goes_back(shop: Shop) -> None:
    slowly(shop, 0.3)
    bought = shop.buy()
    assert shop.till.record(shop.business_id, bought.payment_id, Outcome("cancelled", "")) == "cancelled"
    time.sleep(0.35)
    shop.work()  # the provider's notification
    settle(shop)
    assert shop.rows(Payment)[0].status == "succeeded" and [one.status for one in shop.rows(Refund)] == ["succeeded"]
    assert not shop.rows(Invoice)
    shop.balanced()


def test_not_found_is_asked_again_under_the_same_key(shop: Shop) -> None:
    class Forgetful(SandboxGateway):
        charged = 0

        def look_up(self, key: str) -> Outcome:
            return Outcome("not_found", key)

        def charge(self, request: Any) -> Outcome:
            self.charged += 1
            return super().charge(request)

    shop.gateway.turn_knob("next_charge", "lost")
    bought = shop.buy()
    house = start(shop.house, Forgetful(shop.gateway.store.path, "http://localhost", "a secret for notifications"))
    assert house.till.check(shop.business_id, bought.payment_id) == "succeeded"
    assert house.gateway.charged == 1 and len(shop.charges()) == 1
    house.database.dispose()
    shop.balanced()


def test_after_the_window_nothing_is_sent_again(shop: Shop) -> None:
    one = unsent(shop)
    with shop.database.open(everything("a day passes"), write=True) as db:
        db.scalar(select(Payment)).sent_at = clock.wall() - timedelta(hours=25)
    shop.till.check(shop.business_id, one)
    row = shop.rows(Payment)[0]
    assert row.is_open and row.unknown and not shop.charges()  # parked for a person


def test_after_the_window_a_refund_is_not_sent_again_either(shop: Shop) -> None:
    """It got lost on its way and a day passed: the key may mean nothing any more, so it waits for a person, and no other is made."""
    paid = shop.buy().payment_id

    class Broken(SandboxGateway):
        def refund(self, request: Any) -> Outcome:
            return Outcome("unknown", request.key)  # it never arrived

    house = start(shop.house, Broken(shop.gateway.store.path, "http://localhost", "a secret for notifications"))
    assert refund(house.till, system(shop.business_id), paid, amount_minor=900).status == "pending"
    house.database.dispose()
    clock.turn(timedelta(hours=25))
    for _ in range(3):
        shop.overdue()
        shop.work()
    [row] = shop.rows(Refund)
    assert row.status == "pending" and [kind for kind, _, _ in shop.gateway.movements()] == ["charge"]
    with pytest.raises(Conflict, match="EXISTING_REFUND_REQUEST_PROCESSING"):
        refund(shop.till, system(shop.business_id), paid)


def test_a_click_is_not_first_sent_after_ten_minutes(shop: Shop) -> None:
    one = unsent(shop)
    clock.turn(timedelta(minutes=11))
    shop.overdue()
    shop.work()
    row = shop.rows(Payment, id=one)[0]
    assert row.status == "cancelled" and row.error_code == "TRY_AGAIN_LATER" and not shop.charges()


def test_another_amount_is_never_booked(shop: Shop) -> None:
    one = unsent(shop)
    for amount in (Money(2901, "EUR"), Money(2900, "USD"), None):
        shop.till.record(shop.business_id, one, Outcome("succeeded", "", amount=amount))
        assert shop.rows(Payment)[0].is_open and not shop.rows(Invoice)


def test_notifications_late_repeated_and_in_any_order(shop: Shop) -> None:
    for name, value in (("repeat", 3), ("reorder", "yes"), ("delay", 0.1)):
        shop.gateway.turn_knob(name, value)
    for _ in range(3):
        shop.gateway.turn_knob("next_charge", "lost")
        shop.buy()
    time.sleep(0.15)
    shop.work()  # hints only: no lease has run out
    assert [one.status for one in shop.rows(Payment)] == ["succeeded"] * 3
    with shop.database.open(everything("count hints")) as db:
        assert len(db.scalars(select(GatewayNotification)).all()) == 3
    assert shop.events().count("payment.succeeded") == 3 == len(shop.charges())
    shop.balanced()
