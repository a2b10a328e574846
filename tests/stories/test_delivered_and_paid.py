"""Random parallel payment operations on one subscription: the delivered value never exceeds the paid amount.

Real threads and the real sandbox, on both engines. Refunds run while plan-change pages are open, and pages are paid while refunds run.
The rule is computed here from payments, refunds and quotes, and not from the columns that the code keeps for it.
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

from billing.charging.reconciliation_exceptions import ReconciliationException
from billing.charging.refund import refund
from billing.model.invoices import Invoice, InvoiceLine
from billing.model.payments import Payment, Refund
from billing.model.quotes import Quote
from billing.plan_changes import business_order
from billing.plan_changes.confirm import cancel_scheduled
from billing.pricing.prices import ITEM
from billing.pricing.proration import MODES, minimum
from billing.renewals import renew
from billing.subscriptions.cancel import cancel_at_period_end, keep
from billing.subscriptions.end_now import cancel_now
from billing.subscriptions.pause import pause, resume
from core import clock
from core.errors import PortalError
from core.scope import everything, system
from gateways.sandbox.cards import CardForm
from tests.stories.business_and_buyer import Site, turn_to
from tests.stories.crash_and_restart import recover, start

PRICES = (1900, 2900, 5000)


@pytest.fixture
def site(processor_services: Any) -> Site:
    return Site.open(processor_services)


class Customer:
    """The operations on the subscription, by its customer, the business and the calendar."""

    def __init__(self, site: Site, other: Any, chance: random.Random) -> None:
        self.site, self.chance, self.scope = site, chance, system(site.business_id)
        self.tills = (site.processor, other.processor)
        self.plans = [site.product(site.monthly(price)) for price in PRICES]
        self.other = other

    def operations(self, many: int) -> list[Callable[[], object]]:
        """Return that many possible operations, mostly changes and payments, so that there is credit to be refunded."""
        chance, tills = self.chance, self.tills
        kinds = ("order", "page", "later", "refund", "part", "twice", "tick", "customer")
        paid = [row for row in self.site.rows(Payment, status="succeeded") if row.amount_minor]
        out: list[Callable[[], object]] = []
        for kind in chance.choices(kinds, (6, 4, 1, 1, 2, 1, 2, 2), k=many):
            processor, chosen = chance.choice(tills), chance.choice(paid)
            if kind == "order":
                order = self.order()
                out.append(
                    lambda processor=processor, order=order: business_order.order(processor, self.scope, self.site.subscription_id, order)
                )
            elif kind == "page":
                out.append(self.pay_page)
            elif kind == "later":
                plan = chance.choice(self.plans)
                later = business_order.PlanChangeOrder(plan, 1, (), "full_immediately", effective_at="next_billing_date", replaces=True)
                out.append(
                    lambda processor=processor, later=later: business_order.order(processor, self.scope, self.site.subscription_id, later)
                )
            elif kind == "refund":
                out.append(lambda processor=processor, chosen=chosen: refund(processor, self.scope, chosen.id))
            elif kind == "part":
                part = chance.randint(1, chosen.amount_minor)
                out.append(
                    lambda processor=processor, chosen=chosen, part=part: refund(processor, self.scope, chosen.id, amount_minor=part)
                )
            elif kind == "twice":  # the same refund from two servers
                out += [lambda processor=processor, chosen=chosen: refund(processor, self.scope, chosen.id) for processor in tills]
            elif kind == "tick":
                out.append(chance.choice([self.site.processor.reconcile, self.other.worker.drain, lambda: renew.run_due(tills[0])]))
            else:
                operations = chance.choice([(pause,), (resume,), (cancel_scheduled,), (cancel_at_period_end, keep)])
                out.append(lambda operations=operations: [self.act(operation) for operation in operations])
        return out

    def order(self) -> business_order.PlanChangeOrder:
        chance = self.chance
        return business_order.PlanChangeOrder(
            chance.choice(self.plans),
            chance.choice([1, 1, 2]),
            (),
            chance.choice(MODES),
            by_link=chance.random() < 0.4,
            on_payment_failure="prevent_change",
            replaces=True,
            replaces_link=chance.random() < 0.5,
        )

    def act(self, command: Any) -> None:
        with self.site.database.open(self.scope, write=True) as db:
            command(db, self.site.subscription_id)

    def pay_page(self) -> None:
        """Enter a card on an open page, whatever happened meanwhile."""
        for row in self.site.rows(Payment, charge_type="plan_change"):
            if row.hosted_url:
                card = CardForm("4242424242424242", f"06/{clock.now().year + 4}", "123", "Ada Marlow", "GB", "SE1")
                self.site.gateway.submit_page(row.hosted_url.rsplit("/", 1)[1], card)


class Watcher(threading.Thread):
    """Checks continuously that a plan change being paid and a running refund never exist together."""

    def __init__(self, site: Site) -> None:
        super().__init__(daemon=True)
        self.site, self.stopped, self.seen = site, threading.Event(), 0
        change = select(Payment.id).where(Payment.charge_type == "plan_change", Payment.is_open, Payment.business_id == site.business_id)
        back = select(Refund.id).where(Refund.status == "pending", Refund.invoice_id.is_not(None), Refund.business_id == site.business_id)
        self.both = select(change.exists() & back.exists())

    def run(self) -> None:
        while not self.stopped.is_set():
            with self.site.database.open(everything("watch a story")) as db:
                self.seen += bool(db.scalar(self.both))
            time.sleep(0.002)


def nothing_open(site: Site) -> bool:
    """Close everything except unpaid pages, which stay open for a day."""
    left = [row for row in site.rows(Payment, is_open=True) if row.status != "requires_payment_method"]
    return not left and not site.rows(Refund, status="pending")


def check(site: Site) -> None:
    payments = {row.id: row for row in site.rows(Payment, status="succeeded", subscription_id=site.subscription_id)}
    refunds = site.rows(Refund, status="succeeded")
    unwanted = {refund.payment_id for refund in refunds if refund.invoice_id is None}
    paid = sum(payment.amount_minor for payment in payments.values() if payment.id not in unwanted)
    invoices = {row.id: row for row in site.rows(Invoice, status="paid")}
    sold = dict.fromkeys(invoices, 0)  # the items without the credit lines: an invoice settled with credit was sold in full as well
    for line in site.rows(InvoiceLine, kind=ITEM):
        if line.invoice_id in sold:
            sold[line.invoice_id] += line.net_minor + line.tax_minor
    quotes = [row for row in site.rows(Quote) if row.applied_at is not None]
    credited: dict[str, int] = {}
    for quote in quotes:
        if quote.source_invoice_id:
            credited[quote.source_invoice_id] = credited.get(quote.source_invoice_id, 0) + quote.unused_minor - quote.withdrawn_minor
    for invoice in invoices.values():
        back = sum(refund.amount_minor for refund in refunds if refund.invoice_id == invoice.id)
        assert back + credited.get(invoice.id, 0) <= sold[invoice.id], "the same money was refunded and credited"
        assert back <= sum(payment.amount_minor for payment in payments.values() if payment.invoice_id == invoice.id)
    billed = sum(sold.values())
    created = sum(quote.unused_minor for quote in quotes)
    withdrawn = sum(quote.withdrawn_minor for quote in quotes)
    delivered, kept = billed - created, site.subscription().credit_minor
    assert delivered + kept + withdrawn <= paid, "more was delivered than was paid"
    assert kept > -minimum("EUR") * max(len(quotes), 1)
    for quote in quotes:  # every plan was paid for by a charge or by credit, or nothing was due
        assert quote.due_minor == 0 or (quote.payment_id in payments and quote.payment_id not in unwanted)
    assert not [row for row in site.rows(ReconciliationException) if row.closed_at is None]
    site.balanced()


@pytest.mark.parametrize("seed", range(4))
def test_deliveries_never_exceed_payments_in_parallel(site: Site, seed: int) -> None:
    chance, other = random.Random(seed), start(site.services)
    site.subscribe(price=2900)
    customer, watcher, errors = Customer(site, other, chance), Watcher(site), []
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
            site.gateway.turn_knob("next_charge", chance.choice(["slow", "lost", "", "", ""]))
            doing = customer.operations(10)
            if step == 3 and chance.random() < 0.3:
                doing.append(lambda: cancel_now(site.processor, customer.scope, site.subscription_id))
            chance.shuffle(doing)
            threads = [threading.Thread(target=run, args=(item, chance.random() / 15)) for item in doing]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            recover(site, nothing_open)
            check(site)
            now = site.subscription()
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


@pytest.mark.parametrize("seed", range(5))
def test_deliveries_never_exceed_payments_in_any_order(site: Site, seed: int) -> None:
    """The same operations without threads, so that a failing order fails in every run."""
    chance, other = random.Random(seed), start(site.services)
    site.subscribe(price=chance.choice(PRICES))
    customer = Customer(site, other, chance)
    for _ in range(5):
        for operation in customer.operations(4):
            try:
                operation()
            except PortalError:
                pass  # refused in words
            site.work()
        check(site)
        if site.subscription().status in ("cancelled", "expired"):
            break
        due = site.subscription().next_billing_at
        soon = chance.choice([timedelta(hours=3), timedelta(days=4), timedelta(days=20)])
        turn_to(due + timedelta(minutes=1) if chance.random() < 0.3 and due > clock.now() else clock.now() + soon)
    other.database.dispose()


def test_a_refund_during_an_open_plan_change_is_not_paid_twice(site: Site) -> None:
    """An order that once used the same money twice: subscribe, order a plan by link, refund, pay the link."""
    first = site.subscribe(price=2900).payment_id
    scope, dear = system(site.business_id), site.product(site.monthly(5000))
    wanted = business_order.PlanChangeOrder(dear, 1, (), "prorated_immediately", by_link=True)
    asked = business_order.order(site.processor, scope, site.subscription_id, wanted)
    assert asked.link
    refund(site.processor, scope, first)
    customer = Customer(site, site.services, random.Random(0))
    customer.pay_page()
    recover(site, nothing_open)
    check(site)
    assert site.subscription().product_id != dear
