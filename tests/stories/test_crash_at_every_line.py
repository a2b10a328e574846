"""kill -9 at every commit of every way to move money, and just before and after the provider acts (safety 4.2, 8).

Each deed runs in a child process that is killed at its first commit, then the next deed at its second, and so on until
one lives. After each death the house starts again: one charge per intent, and both books agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from billing import renewals
from billing.commands.buying import buy, subscribe
from billing.commands.refunding import refund
from billing.invoices import Invoice
from billing.payments import Payment, Refund
from billing.subscriptions import Subscription
from core.scope import system
from tests.stories.restart import dies, recover
from tests.stories.shop import Shop, turn_to


@pytest.fixture
def shop(till_house: Any) -> Shop:
    return Shop.open(till_house)


def deaths(knob: str) -> Iterator[tuple[str, int, str]]:
    """(moment, number of the commit, what the provider does)."""
    for moment in ("before", "after"):
        for number in range(1, 12):
            yield moment, number, ""
    for act in ("crash_before", "crash_after", "lost"):
        yield "", 0, f"{knob}={act}"


def every_death(shop: Shop, deed: Any, knob: str = "next_charge") -> Iterator[str]:
    """Die once at each line; yields what killed it. At least three commits each, or nothing was tested."""
    done: dict[str, int] = {}
    for moment, number, act in deaths(knob):
        if done.get(moment):
            continue  # a child lived on to its end: there is no such commit
        if act:
            shop.gateway.turn_knob(*act.split("="))
        died = dies(shop, deed, moment, number)
        if moment and not died:
            assert number > 3
            done[moment] = number
        assert died or moment or act.endswith("lost")
        yield f"{moment} {number} {act}"


def nothing_open(shop: Shop) -> bool:
    return not shop.rows(Payment, is_open=True) and not shop.rows(Refund, status="pending")


def test_a_purchase(shop: Shop) -> None:
    product, card = shop.product({"type": "one_time_price", "currency": "EUR", "price": 2900}), shop.card()

    def deed(child: Shop) -> None:
        buy(child.till, system(child.business_id), customer_id=child.customer_id, cart=[(product, 1)], payment_method_id=card)

    for death in every_death(shop, deed):
        recover(shop, nothing_open)
        payments = shop.rows(Payment)
        assert [one.status for one in payments] == ["succeeded"] * len(payments), death
        assert len(shop.charges()) == len(payments) == len(shop.rows(Invoice, status="paid")), death
        shop.balanced()
    assert len(shop.charges()) > 6


def test_a_first_subscription(shop: Shop) -> None:
    product, card = shop.product(shop.monthly(2900)), shop.card()

    def deed(child: Shop) -> None:
        subscribe(child.till, system(child.business_id), customer_id=child.customer_id, product_id=product, payment_method_id=card)

    for death in every_death(shop, deed):
        recover(shop, nothing_open)
        subscriptions = shop.rows(Subscription)
        assert [one.status for one in subscriptions] == ["active"] * len(subscriptions), death
        assert len(shop.charges()) == len(subscriptions) == len(shop.rows(Invoice, status="paid")), death
        assert shop.events().count("subscription.active") == len(subscriptions), death
        shop.balanced()


def test_a_renewal(shop: Shop) -> None:
    shop.subscribe()
    turn_to(shop.subscription().next_billing_at + timedelta(minutes=1))
    for n, death in enumerate(every_death(shop, lambda child: renewals.run_due(child.till)), start=2):
        recover(shop, lambda again, n=n: nothing_open(again) and again.subscription().period_n == n)
        assert len(shop.charges()) == n == len(shop.rows(Invoice, status="paid")) == len(shop.rows(Payment)), death
        assert shop.subscription().status == "active", death
        shop.balanced()
        turn_to(shop.subscription().next_billing_at + timedelta(minutes=1))
    assert shop.events().count("subscription.renewed") == n - 1


def test_a_refund(shop: Shop) -> None:
    paid = shop.buy(price=90_000)

    def deed(child: Shop) -> None:
        refund(child.till, system(child.business_id), paid.payment_id, amount_minor=100)

    for death in every_death(shop, deed, "next_refund"):
        recover(shop, nothing_open)
        refunds = shop.rows(Refund)
        assert [one.status for one in refunds] == ["succeeded"] * len(refunds), death
        given = [money.minor for kind, _, money in shop.gateway.movements() if kind == "refund"]
        assert given == [100] * len(refunds) and shop.rows(Payment)[0].refunded_minor == sum(given), death
        assert len({one.number for one in refunds}) == len(refunds), death
        shop.balanced()
