"""Late, lost, repeated and unordered answers, and parallel calls: money is recorded once and refunded where due."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from sqlalchemy import select

from billing.charging.ports import ChargeOutcome, Trace
from billing.charging.refund import refund
from billing.model.gateway_notifications import GatewayNotification
from billing.model.invoices import Invoice
from billing.model.payments import Payment, Refund
from billing.model.subscriptions import Subscription
from billing.renewals import renew
from billing.subscriptions.cancel import end
from billing.subscriptions.subscribe import buy
from core import clock
from core.errors import Conflict
from core.money import Money
from core.scope import everything, system
from gateways.sandbox import SandboxGateway
from tests.stories.business_and_buyer import Site, turn_to
from tests.stories.crash_and_restart import is_killed, start


@pytest.fixture
def site(processor_services: Any) -> Site:
    return Site.open(processor_services)


def at_once(*operations: Callable[[], object]) -> list[object]:
    """Run functions in threads that start together. Raises what one of them raises."""
    gate, came, errors = threading.Barrier(len(operations)), [], []

    def run(operation: Callable[[], object]) -> None:
        gate.wait()
        try:
            came.append(operation())
        except Exception as problem:
            errors.append(problem)

    threads = [threading.Thread(target=run, args=(operation,)) for operation in operations]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return came


def settle(site: Site) -> None:
    """Work until nothing is open."""
    for _ in range(60):
        site.overdue()
        site.work()
        if not site.rows(Payment, is_open=True) and not site.rows(Refund, status="pending"):
            return
        time.sleep(0.05)
    raise AssertionError("something stays open")


def unsent(site: Site) -> str:
    """A purchase whose process died right after writing it."""
    product, card = site.product({"type": "one_time_price", "currency": "EUR", "price": 2900}), site.card()
    assert is_killed(
        site,
        lambda child: buy(
            child.processor, system(child.business_id), customer_id=child.customer_id, cart=[(product, 1)], payment_method_id=card
        ),
        "after",
        1,
    )
    return site.rows(Payment, is_open=True)[0].id


def slowly(site: Site, seconds: float) -> None:
    site.gateway.turn_knob("settle_after", seconds)
    site.gateway.turn_knob("next_charge", "slow")


@pytest.mark.parametrize("how", ["lost card", "slow card", "lost", "slow"])
def test_a_late_or_lost_answer_is_settled_once(site: Site, how: str) -> None:
    site.gateway.turn_knob("settle_after", 0.2)
    if "card" in how:
        began = site.subscribe(card="4000000000006975" if "lost" in how else "4000000000000077")
    else:
        site.gateway.turn_knob("next_charge", how)
        began = site.subscribe()
    assert began.status == "processing"
    assert site.rows(Payment)[0].unknown and site.subscription().status == "pending"
    settle(site)
    assert site.subscription().status == "active" and len(site.charges()) == 1
    site.balanced()


def test_two_clicks_at_once_are_one_charge(site: Site) -> None:
    item = unsent(site)
    assert set(at_once(*[lambda: site.processor.start(site.business_id, item)] * 4)) == {"succeeded"}
    assert len(site.charges()) == 1 == len(site.rows(Invoice)) == site.events().count("payment.succeeded")
    site.balanced()


def test_two_first_purchases_at_once_take_two_numbers(site: Site) -> None:
    product, card = site.product({"type": "one_time_price", "currency": "EUR", "price": 2900}), site.card()
    came = at_once(
        *[
            lambda: (
                buy(
                    site.processor, system(site.business_id), customer_id=site.customer_id, cart=[(product, 1)], payment_method_id=card
                ).status
            )
        ]
        * 4
    )
    settle(site)
    assert set(came) <= {"succeeded", "processing"} and len(site.charges()) == 4
    assert sorted(row.number for row in site.rows(Invoice)) == [f"ACO-{n:04d}" for n in range(1, 5)]
    site.balanced()


def test_two_workers_renew_at_once(site: Site) -> None:
    for _ in range(4):
        site.subscribe()
    turn_to(site.subscription().next_billing_at + timedelta(minutes=1))
    other = start(site.services)
    at_once(*[lambda one=item: renew.run_due(one) for item in (site.processor, other.processor)])
    settle(site)
    other.database.dispose()
    assert len(site.charges()) == 8 == len(site.rows(Invoice, status="paid"))
    assert {row.period_n for row in site.rows(Subscription)} == {2}
    site.balanced()


def test_a_payment_after_the_cancellation_is_refunded_once(site: Site) -> None:
    site.subscribe()
    slowly(site, 0.3)
    site.pass_period()
    with site.database.open(system(site.business_id), write=True) as db:
        end(db, db.scalar(select(Subscription).where(Subscription.id == site.subscription_id).with_for_update()))
    settle(site)
    assert site.subscription().status == "cancelled"
    assert sorted(row.status for row in site.rows(Invoice)) == ["paid", "void"]
    assert [(row.status, row.amount_minor, row.invoice_id) for row in site.rows(Refund)] == [("succeeded", 2900, None)]
    settle(site)
    site.balanced()


def test_an_abandoned_purchase_that_is_paid_is_refunded(site: Site) -> None:
    slowly(site, 0.3)
    bought = site.buy()
    assert site.processor.record(site.business_id, bought.payment_id, ChargeOutcome("cancelled", "")) == "cancelled"
    time.sleep(0.35)
    site.work()  # the provider's notification
    settle(site)
    assert site.rows(Payment)[0].status == "succeeded" and [row.status for row in site.rows(Refund)] == ["succeeded"]
    assert not site.rows(Invoice)
    site.balanced()


def test_a_charge_that_is_not_found_is_sent_again_with_the_same_key(site: Site) -> None:
    class Forgetful(SandboxGateway):
        charged: ClassVar[list[str]] = []

        def look_up(self, trace: Trace) -> ChargeOutcome:
            return ChargeOutcome("not_found", trace.key)

        def charge(self, request: Any) -> ChargeOutcome:
            self.charged.append(request.key)
            return super().charge(request)

    site.gateway.turn_knob("next_charge", "lost")
    bought = site.buy()
    services = start(site.services, Forgetful(site.gateway.store.path, "http://localhost", "a secret for notifications"))
    assert services.processor.check(site.business_id, bought.payment_id) == "succeeded"
    assert len(services.gateway.charged) == 1 and len(site.charges()) == 1
    services.database.dispose()
    site.balanced()


def test_after_the_window_a_charge_is_not_sent_again(site: Site) -> None:
    item = unsent(site)
    with site.database.open(everything("a day passes"), write=True) as db:
        db.scalar(select(Payment)).sent_at = clock.wall() - timedelta(hours=25)
    site.processor.check(site.business_id, item)
    row = site.rows(Payment)[0]
    assert row.is_open and row.unknown and not site.charges()  # needs reconciliation


def test_after_the_window_a_refund_is_not_sent_again(site: Site) -> None:
    """The refund was lost and a day has passed. It needs reconciliation, because its key may have expired."""
    paid = site.buy().payment_id

    class Broken(SandboxGateway):
        def refund(self, request: Any) -> ChargeOutcome:
            return ChargeOutcome("unknown", request.key)  # it never arrived

    services = start(site.services, Broken(site.gateway.store.path, "http://localhost", "a secret for notifications"))
    assert refund(services.processor, system(site.business_id), paid, amount_minor=900).status == "pending"
    services.database.dispose()
    clock.turn(timedelta(hours=25))
    for _ in range(3):
        site.overdue()
        site.work()
    [row] = site.rows(Refund)
    assert row.status == "pending" and [kind for kind, _, _ in site.gateway.movements()] == ["charge"]
    with pytest.raises(Conflict, match="EXISTING_REFUND_REQUEST_PROCESSING"):
        refund(site.processor, system(site.business_id), paid)


def test_a_click_is_not_sent_after_ten_minutes(site: Site) -> None:
    item = unsent(site)
    clock.turn(timedelta(minutes=11))
    site.overdue()
    site.work()
    row = site.rows(Payment, id=item)[0]
    assert row.status == "cancelled" and row.error_code == "TRY_AGAIN_LATER" and not site.charges()


def test_a_different_amount_is_not_recorded(site: Site) -> None:
    item = unsent(site)
    for amount in (Money(2901, "EUR"), Money(2900, "USD"), None):
        site.processor.record(site.business_id, item, ChargeOutcome("succeeded", "", amount=amount))
        assert site.rows(Payment)[0].is_open and not site.rows(Invoice)


def test_late_repeated_and_unordered_notifications_are_recorded_once(site: Site) -> None:
    for name, value in (("repeat", 3), ("reorder", "yes"), ("delay", 0.1)):
        site.gateway.turn_knob(name, value)
    for _ in range(3):
        site.gateway.turn_knob("next_charge", "lost")
        site.buy()
    time.sleep(0.15)
    site.work()  # only notifications: no lease has expired
    assert [row.status for row in site.rows(Payment)] == ["succeeded"] * 3
    with site.database.open(everything("count hints")) as db:
        assert len(db.scalars(select(GatewayNotification)).all()) == 3
    assert site.events().count("payment.succeeded") == 3 == len(site.charges())
    site.balanced()
