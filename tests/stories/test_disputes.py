"""Disputes: opened, answered, won and lost; with refunds beside them; at the sandbox and at the stand-in for Stripe."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing.charging.reconciliation_exceptions import ReconciliationException
from billing.charging.refund import refund
from billing.model.disputes import Dispute
from billing.model.licenses import LicenseKey
from billing.model.parties import Business, CustomerTotal, SpendMonth
from billing.model.payments import Payment, Refund
from billing.subscriptions.subscribe import buy
from core import clock
from core.errors import Conflict, PortalError
from core.scope import everything, system
from core.settings import Settings
from gateways.sandbox import returns
from tests.harness.stripe_site import StripeSite, start
from tests.harness.stripe_standin import running
from tests.stories.business_and_buyer import Site
from tests.stories.test_stripe_notifications import debit

DISPUTED = "4000000000000259"


@pytest.fixture
def site(processor_services: Any) -> Site:
    return Site.open(processor_services)


@pytest.fixture
def stripe(settings: Settings) -> Iterator[StripeSite]:
    with running() as stand_in:
        services = start(replace(settings, outgoing_loopback=True), stand_in)
        yield StripeSite.open(services).connect()
        assert stand_in.mistakes == []
        services.database.dispose()


def purchase(site: Site, *, licence: bool = False, method: str = "", price: int = 4900) -> Payment:
    product = site.product({"type": "one_time_price", "currency": "EUR", "price": price}, license_key_enabled=licence)
    began = buy(
        site.processor, system(site.business_id), customer_id=site.customer_id, cart=[(product, 1)], payment_method_id=method or site.card()
    )
    return payment(site, began.payment_id)


def payment(site: Site, payment_id: str) -> Payment:
    return site.rows(Payment, id=payment_id)[0]  # type: ignore[no-any-return]


def refunded(site: Site, payment_id: str, **more: Any) -> Refund:
    return refund(site.processor, system(site.business_id), payment_id, **more)


def told(site: Site) -> None:
    """The processor notifies, and the worker acts on it."""
    site.deliver() if isinstance(site, StripeSite) else site.gateway.deliver_due()
    site.work()


def choose(site: Site, policy: str) -> None:
    with site.database.open(everything("the settings of a story"), write=True) as db:
        db.scalar(select(Business)).settings = {"on_dispute": policy}


def dispute_of(site: Site) -> Dispute:
    [found] = site.rows(Dispute)
    return found  # type: ignore[no-any-return]


def returned(site: Site) -> set[int]:
    return {row.refunded_minor for table in (CustomerTotal, SpendMonth) for row in site.rows(table)}


@pytest.mark.parametrize(
    ("decision", "lost"), [("dispute_won", 0), ("dispute_lost", 4900), ("dispute_accepted", 4900), ("dispute_cancelled", 0)]
)
def test_a_dispute_is_opened_answered_and_decided(site: Site, decision: str, lost: int) -> None:
    """While it is open, and after it was lost, nothing can be refunded. Every notification comes three times."""
    site.gateway.turn_knob("repeat", 3)
    paid = purchase(site, licence=True, method=site.card(number=DISPUTED))
    told(site)
    opened = dispute_of(site)
    assert (opened.status, opened.amount_minor, opened.reason, opened.payment_id) == ("dispute_opened", 4900, "fraudulent", paid.id)
    assert opened.answer_by - clock.wall() > timedelta(days=6) and paid.gateway_reference in opened.url
    assert payment(site, paid.id).left_minor == 0 and returned(site) == {0}
    with pytest.raises(Conflict) as refused:
        refunded(site, paid.id)
    assert refused.value.code == "PAYMENT_DISPUTED"
    site.gateway.on_page(returns.decide_dispute, opened.reference, "dispute_challenged")
    told(site)
    assert dispute_of(site).status == "dispute_challenged"
    site.gateway.on_page(returns.decide_dispute, opened.reference, decision)
    for _ in range(2):
        told(site)
    assert (dispute_of(site).status, payment(site, paid.id).disputed_minor, returned(site)) == (decision, lost, {lost})
    [key] = site.rows(LicenseKey)
    assert key.status == ("disabled" if lost else "active")
    types = [item for item in site.events() if item.startswith("dispute.")]
    assert types == ["dispute.opened", "dispute.challenged", decision.replace("_", ".", 1)]
    site.balanced()
    if not lost:
        assert refunded(site, paid.id).status == "succeeded"


def test_a_part_is_disputed_and_the_rest_can_be_refunded(site: Site) -> None:
    paid = purchase(site)
    site.gateway.on_page(returns.open_dispute, paid.gateway_reference, 3000, "product_not_received")
    told(site)
    with pytest.raises(Conflict):
        refunded(site, paid.id, amount_minor=1901)
    assert refunded(site, paid.id).amount_minor == 1900
    site.gateway.on_page(returns.decide_dispute, dispute_of(site).reference, "dispute_lost")
    told(site)
    assert returned(site) == {4900} and payment(site, paid.id).left_minor == 0
    site.balanced()


def test_a_refund_that_was_not_sent_yet_meets_a_dispute(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process died after it had written the refund. Then the customer disputed. The refund is not sent."""
    paid = purchase(site)
    with monkeypatch.context() as crash:
        crash.setattr(type(site.processor), "start_refund", lambda *_: "pending")
        refunded(site, paid.id)
    site.gateway.on_page(returns.open_dispute, paid.gateway_reference)
    told(site)
    site.overdue()
    site.work()
    [row] = site.rows(Refund)
    assert (row.status, site.rows(ReconciliationException)) == ("failed", [])
    assert [kind for kind, _, _ in site.gateway.movements()] == ["charge"]


def test_a_dispute_and_a_refund_at_the_same_time(site: Site) -> None:
    """One of them gets the money, whichever is first: it never goes back twice."""
    for _round in range(4):
        paid = purchase(site)
        gate, errors = threading.Barrier(2), []

        def run(step: Any, gate: Any = gate, errors: Any = errors) -> None:
            gate.wait()
            try:
                step()
            except PortalError as problem:
                errors.append(problem)

        steps = (
            lambda paid=paid: site.gateway.on_page(returns.open_dispute, paid.gateway_reference),
            lambda paid=paid: refunded(site, paid.id),
        )
        threads = [threading.Thread(target=run, args=(step,)) for step in steps]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        for row in [row for row in site.rows(Dispute) if row.payment_id == paid.id and row.is_open]:
            site.gateway.on_page(returns.decide_dispute, row.reference, "dispute_lost")
        told(site)
        for row in [row for row in site.rows(Dispute) if row.is_open]:
            site.gateway.on_page(returns.decide_dispute, row.reference, "dispute_lost")
        told(site)
        back = [row.amount_minor for row in site.rows(Refund, payment_id=paid.id, status="succeeded")]
        lost = [row.taken_minor for row in site.rows(Dispute, payment_id=paid.id)]
        assert sum(back + lost) == 4900
    site.balanced()


@pytest.mark.parametrize(
    ("policy", "opened", "won"), [("keep", "active", "active"), ("hold", "paused", "active"), ("end", "cancelled", "cancelled")]
)
def test_the_business_decides_what_happens_to_the_subscription(site: Site, policy: str, opened: str, won: str) -> None:
    choose(site, policy)
    began = site.subscribe()
    paid = payment(site, began.payment_id)
    site.gateway.on_page(returns.open_dispute, paid.gateway_reference)
    told(site)
    assert site.subscription().status == opened
    site.gateway.on_page(returns.decide_dispute, dispute_of(site).reference, "dispute_won")
    told(site)
    assert site.subscription().status == won


def test_a_dispute_before_the_success_was_recorded(site: Site) -> None:
    """The answer to the charge was lost, and the notification of its dispute is the first to arrive."""
    site.gateway.turn_knob("next_charge", "lost")
    lost = purchase(site)
    assert lost.status == "processing"
    with site.gateway.store.read() as c:
        reference = c.execute("SELECT reference FROM operations WHERE key = ?", (lost.key,)).fetchone()["reference"]
    site.gateway.turn_knob("reorder", "yes")
    site.gateway.on_page(returns.open_dispute, reference)
    told(site)
    assert (payment(site, lost.id).status, dispute_of(site).status) == ("succeeded", "dispute_opened")


def test_a_lost_dispute_that_is_won_after_all(stripe: StripeSite) -> None:
    """In Stripe's dashboard: opened, lost, and months later decided for the business. Totals follow, in the month of the loss."""
    bank, paid = stripe.gateway.stand_in, purchase(stripe, licence=True)
    reference = bank.open_dispute(paid.gateway_reference)
    told(stripe)
    opened = dispute_of(stripe)
    assert (opened.reference, opened.status, opened.amount_minor, opened.reason) == (reference, "dispute_opened", 4900, "fraudulent")
    assert opened.url == f"https://dashboard.stripe.com/test/disputes/{reference}"
    bank.close_dispute(reference, won=False)
    told(stripe)
    assert (dispute_of(stripe).status, returned(stripe)) == ("dispute_lost", {4900})
    assert stripe.rows(LicenseKey)[0].status == "disabled"
    clock.turn(timedelta(days=70))
    bank.close_dispute(reference, won=True)
    told(stripe)
    assert (dispute_of(stripe).status, returned(stripe), payment(stripe, paid.id).left_minor) == ("dispute_won", {0}, 4900)
    assert stripe.rows(LicenseKey)[0].status == "active"


def test_an_inquiry_withholds_nothing(stripe: StripeSite) -> None:
    bank, paid = stripe.gateway.stand_in, purchase(stripe)
    reference = bank.open_dispute(paid.gateway_reference, inquiry=True)
    told(stripe)
    assert (dispute_of(stripe).stage, payment(stripe, paid.id).left_minor) == ("pre_dispute", 4900)
    bank.escalate(reference)
    told(stripe)
    assert (dispute_of(stripe).stage, payment(stripe, paid.id).left_minor) == ("dispute", 0)
    assert stripe.events().count("dispute.opened") == 2


def test_sepa_succeeds_after_five_days_and_returns_after_eight_weeks(stripe: StripeSite) -> None:
    bank = stripe.gateway.stand_in
    waiting = purchase(stripe, method=debit(stripe))
    assert waiting.status == "processing" and waiting.awaits_bank
    clock.turn(timedelta(days=5))
    bank.finish_debit(waiting.gateway_reference)
    told(stripe)
    assert payment(stripe, waiting.id).status == "succeeded" and returned(stripe) == {0}
    clock.turn(timedelta(days=61))
    bank.return_debit(waiting.gateway_reference)
    told(stripe)
    found = dispute_of(stripe)
    assert (found.status, found.is_debit_return, found.answer_by, found.reason) == ("dispute_lost", True, None, "debit_returned")
    assert {item for item in stripe.events() if item.startswith("dispute.")} == {"dispute.opened", "dispute.lost"}
    assert sorted(row.refunded_minor for row in stripe.rows(SpendMonth)) == [0, 4900]
    with pytest.raises(Conflict):
        refunded(stripe, waiting.id)


def test_a_dispute_of_a_charge_that_was_not_made_here_is_ignored(stripe: StripeSite) -> None:
    bank, paid = stripe.gateway.stand_in, purchase(stripe)
    intent = bank.account_of(paid.gateway_reference).objects[paid.gateway_reference]
    intent["metadata"] = {}
    with stripe.database.open(everything("somebody else's"), write=True) as db:
        row = db.scalar(select(Payment).where(Payment.id == paid.id))
        row.gateway_reference = "pi_other"
    bank.open_dispute(paid.gateway_reference)
    told(stripe)
    assert stripe.rows(Dispute) == [] and stripe.rows(ReconciliationException) == []
