"""Disputes that meet credit and refunds, or payments that are not recorded: no money is used twice, and every dispute ends somewhere."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from billing.charging import settlement
from billing.charging.processor_reports import DisputeReport
from billing.charging.reconciliation_exceptions import ReconciliationException
from billing.charging.resolve_exception import check_again, close_manually
from billing.model.disputes import Dispute
from billing.model.licenses import LicenseKey
from billing.model.payments import Payment
from core.errors import PortalError
from core.money import Money
from core.outbox import Outbox
from core.scope import everything, system
from core.settings import Settings
from gateways.sandbox import SandboxGateway, returns
from tests.conftest import on_sqlite
from tests.harness.stripe_site import StripeSite, start
from tests.harness.stripe_standin import running, specification
from tests.stories.business_and_buyer import Site
from tests.stories.test_disputes import dispute_of, payment, purchase, refunded, told
from tests.stories.test_money_going_back import ask, change, decide, money_of, repeat_work, with_plans
from tests.stories.test_money_is_booked import broken


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


@on_sqlite
@pytest.mark.parametrize("order", itertools.permutations(("dispute", "refund", "use credit")), ids=" then ".join)
def test_a_credit_a_dispute_and_a_refund_take_the_same_money_once(site: Site, order: tuple[str, ...]) -> None:
    """Paid 50, of which 40 became credit. A dispute, a refund and a dearer plan each want these 40. At most 50 go back or are used."""
    paid = with_plans(site)
    change(site, 1000)
    credit = site.subscription().credit_minor
    steps = {
        "dispute": lambda: ask(site, paid, credit),
        "refund": lambda: refunded(site, paid.id, amount_minor=credit),
        "use credit": lambda: change(site, 9000),
    }
    done = []
    for step in order:
        try:
            steps[step]()
            done.append(step)
        except PortalError:
            pass
    paid_minor, back, credited, held = money_of(site, paid.invoice_id)
    spent = 8000 - sum(row.amount_minor for row in site.rows(Payment, status="succeeded", charge_type="plan_change"))
    used = spent if "use credit" in done else 0
    assert order[0] in done and back + credited <= paid_minor
    assert payment(site, paid.id).left_minor + back + min(held, paid_minor - back) == paid_minor
    assert back + used <= paid_minor + 10  # credit is counted in seconds
    if order[0] == "dispute":  # only the bank, which does not ask the portal, takes back what was used before
        assert back + held + used <= paid_minor + 10
    assert site.subscription().credit_minor <= max(paid_minor - back - held, 0)
    if "dispute" in done:
        decide(site, dispute_of(site), "dispute_lost")
        assert payment(site, paid.id).left_minor == max(paid_minor - back - credit, 0)
    site.balanced()


def test_a_dispute_of_a_payment_with_another_amount_is_shown_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The payment is never recorded as it is, so the dispute is not tried again for hours: staff see it beside the payment."""
    site.gateway.turn_knob("next_charge", "lost")
    paid = purchase(site)
    with site.gateway.store.read() as c:
        reference = c.execute("SELECT reference FROM operations WHERE key = ?", (paid.key,)).fetchone()["reference"]
    site.gateway.on_page(lambda c: c.execute("UPDATE operations SET amount = 4000 WHERE key = ?", (paid.key,)))
    site.gateway.turn_knob("reorder", "yes")
    made = site.gateway.on_page(returns.open_dispute, reference)
    told(site)
    told(site)
    assert [row.state for row in site.rows(Outbox) if row.state not in ("done", "sent")] == [] and site.rows(Dispute) == []
    found = {row.noun: row for row in site.rows(ReconciliationException)}
    assert (found["payment"].reason, found["dispute"].reason, found["dispute"].theirs_minor) == ("amount_differs", "unknown_payment", 4000)
    assert found["dispute"].id == f"{paid.payment_account_id}:{made}"
    with site.database.open(system(site.business_id), write=True) as db:
        close_manually(db, paid.id, "Refunded there.")
    assert check_again(site.processor, system(site.business_id), found["dispute"].id) is False
    with site.database.open(system(site.business_id), write=True) as db:
        close_manually(db, found["dispute"].id, "Answered there.")


@on_sqlite
def test_a_dispute_of_a_payment_that_cannot_be_looked_up_yet_is_tried_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.gateway.turn_knob("next_charge", "lost")
    paid = purchase(site)
    with site.gateway.store.read() as c:
        reference = c.execute("SELECT reference FROM operations WHERE key = ?", (paid.key,)).fetchone()["reference"]
    site.gateway.turn_knob("reorder", "yes")
    site.gateway.on_page(returns.open_dispute, reference)
    with monkeypatch.context() as silent:
        silent.setattr(SandboxGateway, "look_up", broken)
        told(site)
    assert site.rows(Dispute) == [] and site.rows(ReconciliationException) == []
    repeat_work(site)
    assert (payment(site, paid.id).status, dispute_of(site).status) == ("succeeded", "dispute_opened")


@on_sqlite
def test_a_dispute_of_an_unbooked_payment_is_recorded_with_it(site: Site) -> None:
    """The license key of a purchase that the bank took back is not handed out when the payment is booked at last."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settlement, "_issue_for", broken)
        paid = purchase(site, licence=True)
        ask(site, paid, 4900)
        decide(site, dispute_of(site), "dispute_lost")
    site.overdue()
    site.processor.reconcile()
    assert payment(site, paid.id).left_minor == 0
    assert [row.status for row in site.rows(LicenseKey)] == ["disabled"]
    site.balanced()


@on_sqlite
def test_an_unknown_state_of_stripe_does_not_reopen_a_dispute(stripe: StripeSite) -> None:
    """Stripe may add states. A dispute that is lost stays lost; a new one counts as open, so that its money is not refunded."""
    bank, paid = stripe.gateway.stand_in, purchase(stripe)
    reference = bank.open_dispute(paid.gateway_reference)
    told(stripe)
    bank.close_dispute(reference, won=False)
    told(stripe)
    account = bank.account_of(reference)
    report = stripe.processor.gateway_of((stripe.business_id, paid.payment_account_id)).look_up_dispute

    def named(status: str) -> DisputeReport:
        with bank.lock:
            account.objects[reference]["status"] = status
            account.emit("charge.dispute.updated", account.objects[reference])
        return report(reference)  # type: ignore[no-any-return]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(specification, "check_answer", lambda *_: None, raising=False)
        assert named("reconsidered").status is None and named("warning_paused").stage == "pre_dispute"
        named("reconsidered")
        told(stripe)
        assert (dispute_of(stripe).status, payment(stripe, paid.id).left_minor) == ("dispute_lost", 0)
        with stripe.database.open(everything("forget the dispute"), write=True) as db:
            db.delete(db.scalar(select(Dispute)))
        named("reconsidered")
        told(stripe)
        assert (dispute_of(stripe).status, payment(stripe, paid.id).left_minor) == ("dispute_opened", 0)


@on_sqlite
@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://dashboard.stripe.com/disputes/du_1", True),
        ("http://localhost/sandbox/payments/sbx_1", True),
        ("javascript:alert(1)//https://", False),
        (" https://x", False),
        ("data:text/html,x", False),
        ("//evil.example", False),
        ("HTTPS://shop.example", False),
        (None, False),
    ],
)
def test_only_web_addresses_of_a_dispute_are_kept(site: Site, monkeypatch: pytest.MonkeyPatch, url: str | None, kept: bool) -> None:
    paid, look_up = purchase(site), SandboxGateway.look_up_dispute
    monkeypatch.setattr(SandboxGateway, "look_up_dispute", lambda self, wanted: replace(look_up(self, wanted), url=url))
    ask(site, paid, 100)
    assert dispute_of(site).url == (url if kept else None)


@on_sqlite
@pytest.mark.parametrize(("amount", "counts"), [(Money(9000, "EUR"), 4900), (Money(5300, "USD"), 4900), (Money(0, "EUR"), 4900)])
def test_a_bank_that_disputes_more_than_was_paid_withholds_the_payment(
    site: Site, monkeypatch: pytest.MonkeyPatch, amount: Money, counts: int
) -> None:
    paid, look_up = purchase(site), SandboxGateway.look_up_dispute
    monkeypatch.setattr(SandboxGateway, "look_up_dispute", lambda self, wanted: replace(look_up(self, wanted), amount=amount))
    ask(site, paid, 100)
    assert (dispute_of(site).amount_minor, payment(site, paid.id).left_minor) == (counts, 0)
