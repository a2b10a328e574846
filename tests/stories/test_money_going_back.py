"""Refunds, disputes, credit and plan changes in every order: no money is counted twice, and none is forgotten."""

from __future__ import annotations

import random
from typing import Any

import pytest
from sqlalchemy import select

from billing.charging.disputes import record_dispute
from billing.charging.processor_refunds import ProcessorObject
from billing.charging.reconciliation_exceptions import ReconciliationException
from billing.charging.resolve_exception import close_manually
from billing.model.disputes import Dispute
from billing.model.invoices import Invoice
from billing.model.parties import CustomerTotal, SpendMonth
from billing.model.payments import Payment, Refund
from billing.plan_changes import confirm as confirm_plan_change
from core.errors import PortalError, Unavailable
from core.outbox import Outbox
from core.scope import everything, system
from gateways.sandbox import SandboxGateway, returns
from tests.stories.business_and_buyer import Site
from tests.stories.test_disputes import choose, dispute_of, payment, purchase, refunded, told


@pytest.fixture
def site(processor_services: Any) -> Site:
    return Site.open(processor_services)


def change(site: Site, price: int) -> None:
    """Change the plan at once. A cheaper plan leaves credit."""
    with site.database.open(system(site.business_id), write=True) as db:
        options: dict[str, Any] = {"mode": "prorated_immediately_keep_cycle", "effective_at": "immediately"}
        shown = confirm_plan_change.quote(db, site.subscription_id, site.__dict__["plans"][price], **options)
    confirm_plan_change.confirm(site.processor, system(site.business_id), shown.id)


def with_plans(site: Site) -> Payment:
    plans = {price: site.product(site.monthly(price)) for price in (1000, 5000, 9000)}
    site.__dict__["plans"] = plans
    began = site.subscribe(price=5000)
    return payment(site, began.payment_id)


def money_of(site: Site, invoice_id: str | None) -> tuple[int, int, int, int]:
    """Return paid, refunded, credited and disputed of an invoice."""
    [bill] = site.rows(Invoice, id=invoice_id)
    held = sum(row.amount_minor for row in site.rows(Dispute, invoice_id=invoice_id) if row.holds_money)
    return bill.paid_minor, bill.refunded_minor, bill.credited_minor, held


def ask(site: Site, paid: Payment, minor: int) -> None:
    """The customer's bank disputes a part of a payment."""
    site.gateway.on_page(returns.open_dispute, paid.gateway_reference, minor)
    told(site)


def decide(site: Site, dispute: Dispute, status: str) -> None:
    site.gateway.on_page(returns.decide_dispute, dispute.reference, status)
    told(site)


def agree(site: Site) -> None:
    """Assert that both ledgers have the same movements. A refund of the processor's page has another key there, so amounts count."""
    names = {"refund": "refund", "dispute": "dispute"}
    moved = sorted((names.get(kind, "charge"), money.minor) for kind, _, money in site.gateway.movements())
    ours = [("charge", row.amount_minor) for row in site.rows(Payment, status="succeeded") if row.amount_minor]
    ours += [("refund", row.amount_minor) for row in site.rows(Refund, status="succeeded")]
    ours += [("dispute", row.taken_minor) for row in site.rows(Dispute) if row.taken_minor]
    assert moved == sorted(ours)
    back = sum(minor for kind, minor in ours if kind != "charge")
    assert sum(row.refunded_minor for row in site.rows(CustomerTotal)) == back == sum(row.refunded_minor for row in site.rows(SpendMonth))


def repeat_work(site: Site) -> None:
    """Time passes until the worker repeats what it could not do."""
    with site.database.open(everything("time passes in a story"), write=True) as db:
        for row in db.scalars(select(Outbox).where(Outbox.state == "pending")):
            row.due_at = row.at
    site.work()


def test_disputed_refunded_and_credited_money_is_one(site: Site) -> None:
    """Paid 50: 10 pay the cheaper plan, 40 are credit. Of these, 20 are disputed and 20 refunded, so that no credit is left."""
    paid = with_plans(site)
    change(site, 1000)
    assert 3990 <= site.subscription().credit_minor <= 4000
    ask(site, paid, 2000)
    refunded(site, paid.id, amount_minor=2000)
    assert sum(money_of(site, paid.invoice_id)[1:]) <= 5000 and site.subscription().credit_minor < 10
    decide(site, dispute_of(site), "dispute_won")
    assert sum(money_of(site, paid.invoice_id)[1:]) <= 5000 and 1990 <= site.subscription().credit_minor <= 2010
    site.balanced()


def test_credit_of_a_won_dispute_waits_for_the_money(site: Site) -> None:
    """The dispute removed the credit, and a refund took the same money. Winning returns no credit; the refund's failure does."""
    paid = with_plans(site)
    change(site, 1000)
    credit = site.subscription().credit_minor
    made = site.gateway.on_page(returns.refund, paid.gateway_reference, credit)
    reference = site.gateway.on_page(returns.open_dispute, paid.gateway_reference, credit)
    record_dispute(site.processor, ProcessorObject(site.business_id, str(paid.payment_account_id), reference))
    told(site)
    assert site.subscription().credit_minor < 10 and [row.status for row in site.rows(Refund)] == ["succeeded"]
    decide(site, dispute_of(site), "dispute_won")
    assert dispute_of(site).status == "dispute_won" and site.subscription().credit_minor < 10
    site.gateway.on_page(returns.fail_refund, made)
    told(site)
    assert site.subscription().credit_minor == credit
    site.balanced()


def test_a_lost_dispute_becomes_smaller(site: Site) -> None:
    paid = purchase(site)
    ask(site, paid, 4000)
    decide(site, dispute_of(site), "dispute_lost")
    site.gateway.on_page(lambda c: c.execute("UPDATE disputes SET amount = 1500, status = 'dispute_challenged'"))
    decide(site, dispute_of(site), "dispute_lost")
    found = dispute_of(site)
    assert (found.amount_minor, found.taken_minor, payment(site, paid.id).left_minor) == (1500, 1500, 3400)
    site.balanced()


def test_an_old_report_does_not_replace_a_newer_one(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker asks, is slow, and meanwhile another one records that the dispute was lost."""
    paid = purchase(site)
    ask(site, paid, 4900)
    look_up, reference = SandboxGateway.look_up_dispute, dispute_of(site).reference

    def slow(self: Any, wanted: str) -> Any:
        report = look_up(self, wanted)
        monkeypatch.setattr(SandboxGateway, "look_up_dispute", look_up)
        site.gateway.on_page(returns.decide_dispute, reference, "dispute_lost")
        told(site)
        assert dispute_of(site).status == "dispute_lost"
        return report

    monkeypatch.setattr(SandboxGateway, "look_up_dispute", slow)
    with pytest.raises(Unavailable):
        record_dispute(site.processor, ProcessorObject(site.business_id, str(paid.payment_account_id), reference))
    assert dispute_of(site).status == "dispute_lost"
    site.balanced()


def test_a_refund_of_the_dashboard_meets_a_requested_one(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both want all of it. The processor has the one of its dashboard, declines the other one, and the first is recorded then."""
    paid = purchase(site)
    with monkeypatch.context() as crash:
        crash.setattr(type(site.processor), "start_refund", lambda *_: "pending")
        refunded(site, paid.id)
    site.gateway.on_page(returns.refund, paid.gateway_reference, 4900)
    told(site)
    site.overdue()
    site.work()
    repeat_work(site)
    assert sorted((row.status, row.author["type"]) for row in site.rows(Refund)) == [("failed", "system"), ("succeeded", "processor")]
    assert [row.closed_at is not None for row in site.rows(ReconciliationException)] in ([], [True])
    agree(site)


def test_a_second_refund_that_is_too_much_is_shown_as_well(site: Site) -> None:
    paid = purchase(site)
    with site.database.open(everything("a backup was restored"), write=True) as db:
        db.scalar(select(Payment).where(Payment.id == paid.id)).refunded_minor = 4800
    for minor in (500, 600):
        site.gateway.on_page(returns.refund, paid.gateway_reference, minor)
        told(site)
    found = site.rows(ReconciliationException)
    assert {(row.reason, row.theirs_minor) for row in found} == {("refund_exceeds", 500), ("refund_exceeds", 600)}
    with site.database.open(system(site.business_id), write=True) as db:
        for row in found:
            close_manually(db, row.id, "Looked at it.")


def test_a_paused_subscription_waits_for_the_last_dispute(site: Site) -> None:
    choose(site, "hold")
    began = site.subscribe()
    paid = payment(site, began.payment_id)
    ask(site, paid, 1000)
    first = dispute_of(site)
    ask(site, paid, 1000)
    [second] = [row for row in site.rows(Dispute) if row.id != first.id]
    decide(site, first, "dispute_won")
    assert site.subscription().status == "paused"
    decide(site, second, "dispute_won")
    assert site.subscription().status == "active"


@pytest.mark.parametrize("seed", [1, 2])
def test_any_order(site: Site, seed: int) -> None:
    """Whatever happens in whatever order, both ledgers agree at the end, and no money of an invoice is used twice."""
    chance = random.Random(seed)
    with_plans(site)
    for _step in range(14):
        paid = chance.choice([row for row in site.rows(Payment, status="succeeded") if row.amount_minor])
        part = chance.randint(1, paid.amount_minor)
        disputes, refunds = site.rows(Dispute), [row for row in site.rows(Refund, status="succeeded")]
        act = chance.choice(("change", "dispute", "decide", "decide", "refund", "dashboard", "fail", "tell"))
        try:
            if act == "change":
                change(site, chance.choice((1000, 5000, 9000)))
            elif act == "dispute":
                site.gateway.on_page(returns.open_dispute, paid.gateway_reference, part)
            elif act == "decide" and disputes:
                row = chance.choice(disputes)
                site.gateway.on_page(returns.decide_dispute, row.reference, chance.choice(returns.DECISIONS))
            elif act == "refund":
                refunded(site, paid.id, amount_minor=part)
            elif act == "dashboard":
                site.gateway.on_page(returns.refund, paid.gateway_reference, part)
            elif act == "fail" and refunds:
                key = chance.choice(refunds).key
                with site.gateway.store.read() as c:
                    found = c.execute("SELECT reference FROM operations WHERE key = ?", (key,)).fetchone()
                if found is not None:
                    site.gateway.on_page(returns.fail_refund, found["reference"])
            else:
                told(site)
        except PortalError:
            pass  # refused in words
    told(site)
    repeat_work(site)
    for bill in site.rows(Invoice):
        paid_minor, back, credited, _held = money_of(site, bill.id)
        assert back + credited <= paid_minor
    assert site.subscription().credit_minor >= 0
    assert {row.status for row in site.rows(Refund)} <= {"succeeded", "failed"}
    if not [row for row in site.rows(ReconciliationException) if row.reason in ("refund_exceeds", "not_recorded")]:
        agree(site)
