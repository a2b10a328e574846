"""Random money operations on one subscription, many at once: what was delivered never exceeds what was paid.

Real threads and the real sandbox, on both engines. Refunds run while pages of plan changes are open, and pages are paid while refunds
run. The rule is computed here from payments, refunds and quotes, and not from the columns that the code keeps for it.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing import renewals
from billing.commands import plan_order
from billing.commands.cancelling import cancel_at_period_end, keep
from billing.commands.ending import cancel_now
from billing.commands.pausing import pause, resume
from billing.commands.plan_change import cancel_scheduled
from billing.commands.refunding import refund
from billing.invoices import Invoice
from billing.parked import Parked
from billing.payments import Payment, Refund
from billing.proration import MODES, minimum
from billing.quotes import Quote
from core import clock
from core.errors import PortalError
from core.scope import everything, system
from gateways.sandbox.cards import Typed
from tests.stories.restart import recover, start
from tests.stories.shop import Shop, turn_to

PRICES = (1900, 2900, 5000)


@pytest.fixture
def shop(till_house: Any) -> Shop:
    return Shop.open(till_house)


class Customer:
    """What may happen to the subscription: by its customer, by the business, and by the calendar."""

    def __init__(self, shop: Shop, other: Any, chance: random.Random) -> None:
        self.shop, self.chance, self.scope = shop, chance, system(shop.business_id)
        self.tills = (shop.till, other.till)
        self.plans = [shop.product(shop.monthly(price)) for price in PRICES]
        self.other = other

    def operations(self) -> list[Callable[[], object]]:
        chance, till = self.chance, self.chance.choice(self.tills)
        paid = [one for one in self.shop.rows(Payment, status="succeeded") if one.amount_minor]
        chosen = chance.choice(paid)
        part = chance.choice([None, None, chance.randint(1, chosen.amount_minor)])
        change = plan_order.Order(
            chance.choice(self.plans), chance.choice([1, 1, 2]), (), chance.choice(MODES), by_link=chance.random() < 0.6,
            on_payment_failure="prevent_change", replaces=True, replaces_link=chance.random() < 0.5)
        later = plan_order.Order(chance.choice(self.plans), 1, (), "full_immediately", effective_at="next_billing_date", replaces=True)
        return [
            lambda: refund(till, self.scope, chosen.id, amount_minor=part),
            lambda: refund(self.tills[0], self.scope, chosen.id),
            lambda: plan_order.order(till, self.scope, self.shop.subscription_id, change),
            lambda: plan_order.order(till, self.scope, self.shop.subscription_id, later),
            self.pay_page, self.pay_page, self.shop.till.reconcile, self.other.worker.drain, lambda: renewals.run_due(till),
            lambda: self.act(pause), lambda: self.act(resume), lambda: self.act(cancel_scheduled),
            lambda: (self.act(cancel_at_period_end), self.act(keep)),
        ]

    def act(self, command: Any) -> None:
        with self.shop.database.open(self.scope, write=True) as db:
            command(db, self.shop.subscription_id)

    def pay_page(self) -> None:
        """Somebody has the page open, whatever happened meanwhile, and types a card."""
        for one in self.shop.rows(Payment, charge_type="plan_change"):
            if one.hosted_url:
                card = Typed("4242424242424242", f"06/{clock.now().year + 4}", "123", "Ada Marlow", "GB", "SE1")
                self.shop.gateway.submit_page(one.hosted_url.rsplit("/", 1)[1], card)


class Watcher(threading.Thread):
    """Looks all the time: a plan change that is being paid and a refund that is under way never stand beside each other."""

    def __init__(self, shop: Shop) -> None:
        super().__init__(daemon=True)
        self.shop, self.stopped, self.seen = shop, threading.Event(), 0
        change = select(Payment.id).where(Payment.charge_type == "plan_change", Payment.is_open, Payment.business_id == shop.business_id)
        back = select(Refund.id).where(Refund.status == "pending", Refund.invoice_id.is_not(None), Refund.business_id == shop.business_id)
        self.both = select(change.exists() & back.exists())

    def run(self) -> None:
        while not self.stopped.is_set():
            with self.shop.database.open(everything("watch a story")) as db:
                self.seen += bool(db.scalar(self.both))
            time.sleep(0.002)


def nothing_open(shop: Shop) -> bool:
    """All but pages that nobody has paid: these stay open for a day."""
    left = [one for one in shop.rows(Payment, is_open=True) if one.status != "requires_payment_method"]
    return not left and not shop.rows(Refund, status="pending")


def check(shop: Shop) -> None:
    payments = {one.id: one for one in shop.rows(Payment, status="succeeded", subscription_id=shop.subscription_id)}
    refunds = shop.rows(Refund, status="succeeded")
    unwanted = {one.payment_id for one in refunds if one.invoice_id is None}
    paid = sum(one.amount_minor for one in payments.values() if one.id not in unwanted)
    invoices = {one.id: one for one in shop.rows(Invoice, status="paid")}
    quotes = [one for one in shop.rows(Quote) if one.applied_at is not None]
    credited: dict[str, int] = {}
    for one in quotes:
        if one.source_invoice_id:
            credited[one.source_invoice_id] = credited.get(one.source_invoice_id, 0) + one.unused_minor - one.withdrawn_minor
    for invoice in invoices.values():
        back = sum(one.amount_minor for one in refunds if one.invoice_id == invoice.id)
        assert back + credited.get(invoice.id, 0) <= invoice.total_minor, "the same money was refunded and credited"
        assert back <= sum(one.amount_minor for one in payments.values() if one.invoice_id == invoice.id)
    billed = sum(one.total_minor for one in invoices.values())
    created = sum(one.unused_minor for one in quotes)
    withdrawn = sum(one.withdrawn_minor for one in quotes)
    delivered, kept = billed - created, shop.subscription().credit_minor
    assert delivered + kept + withdrawn <= paid, "more was delivered than was paid"
    assert kept > -minimum("EUR") * max(len(quotes), 1)
    for one in quotes:  # every plan that is had was paid for: by its own charge, by credit, or by nothing because nothing was due
        assert one.due_minor == 0 or (one.payment_id in payments and one.payment_id not in unwanted)
    assert not [one for one in shop.rows(Parked) if one.closed_at is None]
    shop.balanced()


@pytest.mark.xfail(reason="a known open fault: some interleavings still break the books, see the change log", strict=False)
@pytest.mark.parametrize("seed", range(4))
def test_what_was_delivered_never_exceeds_what_was_paid(shop: Shop, seed: int) -> None:
    chance, other = random.Random(seed), start(shop.house)
    shop.subscribe(price=2900)
    customer, watcher, errors = Customer(shop, other, chance), Watcher(shop), []
    watcher.start()

    def run(operation: Callable[[], object], wait: float) -> None:
        time.sleep(wait)
        try:
            operation()
        except PortalError:
            pass  # refused in words
        except BaseException as problem:
            errors.append(problem)

    try:
        for step in range(4):
            shop.gateway.turn_knob("next_charge", chance.choice(["slow", "lost", "", "", ""]))
            doing = customer.operations()
            if step == 3 and chance.random() < 0.3:
                doing.append(lambda: cancel_now(shop.till, customer.scope, shop.subscription_id))
            chance.shuffle(doing)
            threads = [threading.Thread(target=run, args=(one, chance.random() / 15)) for one in doing]
            for one in threads:
                one.start()
            for one in threads:
                one.join()
            recover(shop, nothing_open)
            check(shop)
            now = shop.subscription()
            if now.status in ("cancelled", "expired"):
                break
            soon = chance.choice([timedelta(hours=3), timedelta(days=4), timedelta(days=20)])
            due = now.next_billing_at
            turn_to(due + timedelta(minutes=1) if chance.random() < 0.4 and due > clock.now() else clock.now() + soon)
    finally:
        watcher.stopped.set()
        watcher.join()
    other.database.dispose()
    assert not errors, errors
    assert watcher.seen == 0


def test_a_refund_while_the_page_of_a_plan_change_is_open(shop: Shop) -> None:
    """The order in which the same money was once used twice: subscribe, ask for a dearer plan by link, refund, pay the link."""
    first = shop.subscribe(price=2900).payment_id
    scope, dear = system(shop.business_id), shop.product(shop.monthly(5000))
    asked = plan_order.order(shop.till, scope, shop.subscription_id, plan_order.Order(dear, 1, (), "prorated_immediately", by_link=True))
    assert asked.link
    refund(shop.till, scope, first)
    customer = Customer(shop, shop.house, random.Random(0))
    customer.pay_page()
    recover(shop, nothing_open)
    check(shop)
    assert shop.subscription().product_id != dear
