"""Everything that may happen to one subscription, at the same moment and in any order: at most one charge per period."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing import renewals
from billing.commands.buying import buy
from billing.commands.cancelling import cancel_at_period_end, end, keep
from billing.commands.refunding import refund
from billing.invoices import Invoice
from billing.payments import Payment, PaymentMethod, Refund
from billing.ports import Outcome
from billing.subscriptions import Subscription
from core.errors import Conflict
from core.scope import system
from tests.stories.restart import recover, start
from tests.stories.shop import Shop, turn_to


@pytest.fixture
def shop(till_house: Any) -> Shop:
    return Shop.open(till_house)


def nothing_open(shop: Shop) -> bool:
    return not shop.rows(Payment, is_open=True) and not shop.rows(Refund, status="pending")


def locked(db: Any, shop: Shop) -> Subscription:
    return db.scalar(select(Subscription).where(Subscription.id == shop.subscription_id).with_for_update())


def cancel(shop: Shop) -> None:
    with shop.database.open(system(shop.business_id), write=True) as db:
        row = locked(db, shop)
        end(db, row)


def change_mind(shop: Shop) -> None:
    for act in (cancel_at_period_end, keep):
        with shop.database.open(system(shop.business_id), write=True) as db:
            act(db, shop.subscription_id)


def pay_dues(shop: Shop) -> None:
    """What the page for a held subscription does: the open invoice, with the saved card."""
    with shop.database.open(system(shop.business_id), write=True) as db:
        row = locked(db, shop)
        invoice = db.scalar(select(Invoice).where(Invoice.subscription_id == row.id, Invoice.status == "open").with_for_update())
        if invoice is None or row.status not in ("active", "on_hold"):
            return
        card = db.scalar(select(PaymentMethod).where(PaymentMethod.id == row.payment_method_id))
        payment = renewals.attempt(shop.till, db, invoice, row, card, off_session=False).id
    shop.till.start(shop.business_id, payment)


def deeds(shop: Shop, other: Any, first_payment: str) -> list[Callable[[], object]]:
    scope = system(shop.business_id)
    return [
        lambda: renewals.run_due(shop.till), lambda: renewals.run_due(other.till), shop.till.reconcile, other.worker.drain,
        lambda: refund(shop.till, scope, first_payment, amount_minor=500),
        lambda: refund(other.till, scope, first_payment, amount_minor=700),
        lambda: pay_dues(shop), lambda: change_mind(shop),
    ]


@pytest.mark.parametrize("seed", range(4))
def test_all_at_once_in_any_order(shop: Shop, seed: int) -> None:
    chance, other = random.Random(seed), start(shop.house)
    first = shop.subscribe(card=chance.choice(["4242424242424242", "4000000000000341"])).payment_id
    shop.gateway.turn_knob("settle_after", 0.1)
    errors: list[BaseException] = []

    def run(deed: Callable[[], object], wait: float) -> None:
        time.sleep(wait)
        try:
            deed()
        except Conflict:
            pass  # refused in words: that is an answer
        except BaseException as problem:
            errors.append(problem)

    for period in range(2):
        turn_to(shop.subscription().next_billing_at + timedelta(minutes=1))
        shop.gateway.turn_knob("next_charge", chance.choice(["slow", "lost", ""]))
        doing = deeds(shop, other, first) + ([lambda: cancel(shop)] if period else [])
        chance.shuffle(doing)
        threads = [threading.Thread(target=run, args=(deed, chance.random() / 20)) for deed in doing]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        recover(shop, nothing_open)
        if shop.subscription().status != "active":
            break
    other.database.dispose()
    assert not errors
    taken = Counter(one.invoice_id for one in shop.rows(Payment, status="succeeded"))
    assert set(taken.values()) == {1}
    given_back = {one.payment_id for one in shop.rows(Refund, status="succeeded") if one.invoice_id is None}
    for invoice in shop.rows(Invoice):
        paid = [one for one in shop.rows(Payment, status="succeeded", invoice_id=invoice.id) if one.id not in given_back]
        assert (invoice.status == "paid") == (len(paid) == 1) and invoice.paid_minor == sum(one.amount_minor for one in paid)
    shop.balanced()


@pytest.mark.parametrize("act", ["purchase", "renewal", "refund"])
def test_a_process_that_slept_past_its_lease_moves_nothing_twice(shop: Shop, act: str) -> None:
    """It stops between writing what it will do and asking for it; others finish the work; then it wakes and asks as well."""
    product, card = shop.product({"type": "one_time_price", "currency": "EUR", "price": 2900}), shop.card()
    paid = shop.buy().payment_id if act == "refund" else ""
    if act == "renewal":
        shop.subscribe()
        turn_to(shop.subscription().next_billing_at + timedelta(minutes=1))
    so_far = len(shop.gateway.movements())

    def do(house: Any) -> None:
        scope = system(shop.business_id)
        if act == "renewal":
            renewals.run_due(house.till)
        elif act == "refund":
            refund(house.till, scope, paid, amount_minor=900)
        else:
            buy(house.till, scope, customer_id=shop.customer_id, cart=[(product, 1)], payment_method_id=card)

    child = os.fork()
    if child == 0:
        status = 1
        try:
            shop.database.engine.dispose(close=False)
            house = start(shop.house)
            verb = "refund" if act == "refund" else "charge"
            asks = getattr(house.gateway, verb)

            def asleep(request: Any) -> Outcome:
                os.kill(os.getpid(), signal.SIGSTOP)  # the lease runs out here
                return asks(request)

            setattr(house.gateway, verb, asleep)
            do(house)
            status = 0
        finally:
            os._exit(status)
    _, told = os.waitpid(child, os.WUNTRACED)
    assert os.WIFSTOPPED(told)
    recover(shop, nothing_open)
    assert len(shop.gateway.movements()) == so_far + 1
    os.kill(child, signal.SIGCONT)
    _, told = os.waitpid(child, 0)
    assert os.WEXITSTATUS(told) == 0
    assert len(shop.gateway.movements()) == so_far + 1
    assert shop.events().count("refund.succeeded") == (act == "refund")
    assert len(shop.rows(Invoice)) == shop.events().count("payment.succeeded") == (2 if act == "renewal" else 1)
    shop.balanced()
