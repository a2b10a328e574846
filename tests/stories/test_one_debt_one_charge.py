"""Parallel operations on one subscription in any order charge at most once per period."""

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

from billing.charging.ports import ChargeOutcome
from billing.charging.refund import refund
from billing.model.invoices import Invoice
from billing.model.payments import Payment, PaymentMethod, Refund
from billing.model.subscriptions import Subscription
from billing.renewals import renew
from billing.subscriptions.cancel import cancel_at_period_end, end, keep
from billing.subscriptions.subscribe import buy
from core.errors import Conflict
from core.scope import system
from tests.stories.business_and_buyer import Site, turn_to
from tests.stories.crash_and_restart import recover, start


@pytest.fixture
def site(processor_services: Any) -> Site:
    return Site.open(processor_services)


def nothing_open(site: Site) -> bool:
    return not site.rows(Payment, is_open=True) and not site.rows(Refund, status="pending")


def locked(db: Any, site: Site) -> Subscription:
    return db.scalar(select(Subscription).where(Subscription.id == site.subscription_id).with_for_update())


def cancel(site: Site) -> None:
    with site.database.open(system(site.business_id), write=True) as db:
        row = locked(db, site)
        end(db, row)


def change_mind(site: Site) -> None:
    for act in (cancel_at_period_end, keep):
        with site.database.open(system(site.business_id), write=True) as db:
            act(db, site.subscription_id)


def pay_dues(site: Site) -> None:
    """Pay the open invoice with the saved card, as the page of a subscription on hold does."""
    with site.database.open(system(site.business_id), write=True) as db:
        row = locked(db, site)
        invoice = db.scalar(select(Invoice).where(Invoice.subscription_id == row.id, Invoice.status == "open").with_for_update())
        if invoice is None or row.status not in ("active", "on_hold"):
            return
        card = db.scalar(select(PaymentMethod).where(PaymentMethod.id == row.payment_method_id))
        payment = renew.attempt(site.processor, db, invoice, row, card, off_session=False).id
    site.processor.start(site.business_id, payment)


def operations(site: Site, other: Any, first_payment: str) -> list[Callable[[], object]]:
    scope = system(site.business_id)
    return [
        lambda: renew.run_due(site.processor),
        lambda: renew.run_due(other.processor),
        site.processor.reconcile,
        other.worker.drain,
        lambda: refund(site.processor, scope, first_payment, amount_minor=500),
        lambda: refund(other.processor, scope, first_payment, amount_minor=700),
        lambda: pay_dues(site),
        lambda: change_mind(site),
    ]


@pytest.mark.parametrize("seed", range(4))
def test_parallel_attempts_charge_a_period_once(site: Site, seed: int) -> None:
    chance, other = random.Random(seed), start(site.services)
    first = site.subscribe(card=chance.choice(["4242424242424242", "4000000000000341"])).payment_id
    site.gateway.turn_knob("settle_after", 0.1)
    errors: list[BaseException] = []

    def run(operation: Callable[[], object], wait: float) -> None:
        time.sleep(wait)
        try:
            operation()
        except Conflict:
            pass  # a refusal is an answer
        except BaseException as problem:
            errors.append(problem)

    for period in range(2):
        turn_to(site.subscription().next_billing_at + timedelta(minutes=1))
        site.gateway.turn_knob("next_charge", chance.choice(["slow", "lost", ""]))
        doing = operations(site, other, first) + ([lambda: cancel(site)] if period else [])
        chance.shuffle(doing)
        threads = [threading.Thread(target=run, args=(operation, chance.random() / 20)) for operation in doing]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        recover(site, nothing_open)
        if site.subscription().status != "active":
            break
    other.database.dispose()
    assert not errors
    taken = Counter(row.invoice_id for row in site.rows(Payment, status="succeeded"))
    assert set(taken.values()) == {1}
    given_back = {row.payment_id for row in site.rows(Refund, status="succeeded") if row.invoice_id is None}
    for invoice in site.rows(Invoice):
        paid = [row for row in site.rows(Payment, status="succeeded", invoice_id=invoice.id) if row.id not in given_back]
        assert (invoice.status == "paid") == (len(paid) == 1) and invoice.paid_minor == sum(item.amount_minor for item in paid)
    site.balanced()


@pytest.mark.parametrize("act", ["purchase", "renewal", "refund"])
def test_a_process_that_outlived_its_lease_charges_nothing_twice(site: Site, act: str) -> None:
    """It pauses between writing and sending a charge. Others finish the work; then it continues and sends too."""
    product, card = site.product({"type": "one_time_price", "currency": "EUR", "price": 2900}), site.card()
    paid = site.buy().payment_id if act == "refund" else ""
    if act == "renewal":
        site.subscribe()
        turn_to(site.subscription().next_billing_at + timedelta(minutes=1))
    so_far = len(site.gateway.movements())

    def do(services: Any) -> None:
        scope = system(site.business_id)
        if act == "renewal":
            renew.run_due(services.processor)
        elif act == "refund":
            refund(services.processor, scope, paid, amount_minor=900)
        else:
            buy(services.processor, scope, customer_id=site.customer_id, cart=[(product, 1)], payment_method_id=card)

    child = os.fork()
    if child == 0:
        status = 1
        try:
            site.database.engine.dispose(close=False)
            services = start(site.services)
            verb = "refund" if act == "refund" else "charge"
            asks = getattr(services.gateway, verb)

            def asleep(request: Any) -> ChargeOutcome:
                os.kill(os.getpid(), signal.SIGSTOP)  # the lease runs out here
                return asks(request)

            setattr(services.gateway, verb, asleep)
            do(services)
            status = 0
        finally:
            os._exit(status)
    _, told = os.waitpid(child, os.WUNTRACED)
    assert os.WIFSTOPPED(told)
    recover(site, nothing_open)
    assert len(site.gateway.movements()) == so_far + 1
    os.kill(child, signal.SIGCONT)
    _, told = os.waitpid(child, 0)
    assert os.WEXITSTATUS(told) == 0
    assert len(site.gateway.movements()) == so_far + 1
    assert site.events().count("refund.succeeded") == (act == "refund")
    assert len(site.rows(Invoice)) == site.events().count("payment.succeeded") == (2 if act == "renewal" else 1)
    site.balanced()
