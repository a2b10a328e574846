"""Kill a process at every commit of every payment operation, and just before and after the provider acts (safety 4.2, 8).

Each operation runs in a child that is killed at its first commit, the next one at its second, and so on until one completes. After each
kill the application starts again. There is one charge per intent, and both ledgers agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from billing.charging.refund import refund
from billing.model.invoices import Invoice
from billing.model.payments import Payment, Refund
from billing.model.subscriptions import Subscription
from billing.renewals import renew
from billing.subscriptions.subscribe import buy, subscribe
from core.scope import system
from tests.conftest import on_sqlite
from tests.stories.business_and_buyer import Site, turn_to
from tests.stories.crash_and_restart import is_killed, recover


@pytest.fixture
def site(processor_services: Any) -> Site:
    return Site.open(processor_services)


def deaths(knob: str) -> Iterator[tuple[str, int, str]]:
    """Yield (moment, number of the commit, what the provider does)."""
    for moment in ("before", "after"):
        for number in range(1, 12):
            yield moment, number, ""
    for act in ("crash_before", "crash_after", "lost"):
        yield "", 0, f"{knob}={act}"


def every_kill(site: Site, operation: Any, knob: str = "next_charge") -> Iterator[str]:
    """Kill once at each commit; yields the kill. Fails with fewer than three commits, because then nothing was tested."""
    done: dict[str, int] = {}
    for moment, number, act in deaths(knob):
        if done.get(moment):
            continue  # a child lived on to its end: there is no such commit
        if act:
            site.gateway.turn_knob(*act.split("="))
        died = is_killed(site, operation, moment, number)
        if moment and not died:
            assert number > 3
            done[moment] = number
        assert died or moment or act.endswith("lost")
        yield f"{moment} {number} {act}"


def nothing_open(site: Site) -> bool:
    return not site.rows(Payment, is_open=True) and not site.rows(Refund, status="pending")


@on_sqlite
def test_a_killed_purchase_is_charged_once(site: Site) -> None:
    product, card = site.product({"type": "one_time_price", "currency": "EUR", "price": 2900}), site.card()

    def operation(child: Site) -> None:
        buy(child.processor, system(child.business_id), customer_id=child.customer_id, cart=[(product, 1)], payment_method_id=card)

    for death in every_kill(site, operation):
        recover(site, nothing_open)
        payments = site.rows(Payment)
        assert [payment.status for payment in payments] == ["succeeded"] * len(payments), death
        assert len(site.charges()) == len(payments) == len(site.rows(Invoice, status="paid")), death
        site.balanced()
    assert len(site.charges()) > 6


@on_sqlite
def test_a_killed_first_subscription_is_charged_once(site: Site) -> None:
    product, card = site.product(site.monthly(2900)), site.card()

    def operation(child: Site) -> None:
        subscribe(child.processor, system(child.business_id), customer_id=child.customer_id, product_id=product, payment_method_id=card)

    for death in every_kill(site, operation):
        recover(site, nothing_open)
        subscriptions = site.rows(Subscription)
        assert [subscription.status for subscription in subscriptions] == ["active"] * len(subscriptions), death
        assert len(site.charges()) == len(subscriptions) == len(site.rows(Invoice, status="paid")), death
        assert site.events().count("subscription.active") == len(subscriptions), death
        site.balanced()


def test_a_killed_renewal_is_charged_once(site: Site) -> None:
    site.subscribe()
    turn_to(site.subscription().next_billing_at + timedelta(minutes=1))
    for n, death in enumerate(every_kill(site, lambda child: renew.run_due(child.processor)), start=2):
        recover(site, lambda again, n=n: nothing_open(again) and again.subscription().period_n == n)
        assert len(site.charges()) == n == len(site.rows(Invoice, status="paid")) == len(site.rows(Payment)), death
        assert site.subscription().status == "active", death
        site.balanced()
        turn_to(site.subscription().next_billing_at + timedelta(minutes=1))
    assert site.events().count("subscription.renewed") == n - 1


def test_a_killed_refund_is_paid_once(site: Site) -> None:
    paid = site.buy(price=90_000)

    def operation(child: Site) -> None:
        refund(child.processor, system(child.business_id), paid.payment_id, amount_minor=100)

    for death in every_kill(site, operation, "next_refund"):
        recover(site, nothing_open)
        refunds = site.rows(Refund)
        assert [item.status for item in refunds] == ["succeeded"] * len(refunds), death
        given = [money.minor for kind, _, money in site.gateway.movements() if kind == "refund"]
        assert given == [100] * len(refunds) and site.rows(Payment)[0].refunded_minor == sum(given), death
        assert len({item.number for item in refunds}) == len(refunds), death
        site.balanced()
