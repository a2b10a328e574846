"""Refunds that the portal did not begin, or whose end it was not told about: booked once, and none is missed."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from sqlalchemy import select

from billing.charging import refund_outcomes, settlement
from billing.charging.notifications import process
from billing.charging.reconciliation_exceptions import ReconciliationException
from billing.charging.resolve_exception import close_manually
from billing.model.invoices import Invoice
from billing.model.parties import CustomerTotal, SpendMonth
from billing.model.payments import Payment, Refund
from core import clock
from core.scope import everything, system
from gateways.sandbox import SandboxGateway, returns
from tests.conftest import on_sqlite
from tests.stories.business_and_buyer import Site
from tests.stories.test_disputes import payment, purchase, refunded, told
from tests.stories.test_money_going_back import agree, repeat_work
from tests.stories.test_money_is_booked import broken
from tests.stories.test_refunds_failing_later import books, sandbox_refund


@pytest.fixture
def site(processor_services: Any) -> Site:
    return Site.open(processor_services)


def hint(site: Site, paid: Payment, reference: str) -> dict[str, Any]:
    return {
        "business_id": site.business_id, "payment_account_id": paid.payment_account_id, "key": None, "kind": "refund",
        "reference": reference,
    }  # fmt: skip


def test_one_refund_notified_to_two_workers_is_booked_once(site: Site) -> None:
    paid = purchase(site)
    reference = site.gateway.on_page(returns.refund, paid.gateway_reference, 900)
    gate, problems = threading.Barrier(4), []

    def work() -> None:
        gate.wait()
        try:
            process(site.processor, hint(site, paid, reference))
        except Exception as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    told(site)
    assert [(row.status, row.amount_minor) for row in site.rows(Refund)] == [("succeeded", 900)] and problems == []
    assert books(site) == ([900], [900], [900], [900], [900]) and site.events().count("refund.succeeded") == 1


@on_sqlite
def test_a_refund_that_fails_while_it_is_recorded_is_not_missed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its failure is notified after the first look-up and before it is recorded, when no refund is known. A second look-up finds it."""
    paid, look_up = purchase(site), SandboxGateway.look_up_refund
    reference = site.gateway.on_page(returns.refund, paid.gateway_reference, 900)

    def slow(self: Any, wanted: str) -> Any:
        report = look_up(self, wanted)
        monkeypatch.setattr(SandboxGateway, "look_up_refund", look_up)
        site.gateway.on_page(returns.fail_refund, reference)
        process(site.processor, hint(site, paid, reference))  # nothing is known that could fail
        assert site.rows(Refund) == []
        return report

    monkeypatch.setattr(SandboxGateway, "look_up_refund", slow)
    process(site.processor, hint(site, paid, reference))
    assert [row.status for row in site.rows(Refund)] == ["failed"] and books(site) == ([0], [0], [0], [0], [0])
    assert payment(site, paid.id).left_minor == 4900


def test_a_part_refund_of_an_unbooked_payment_waits_for_the_booking(site: Site) -> None:
    """Recorded at once, it would leave a purchase that is paid in part and never delivered. It is shown until then."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settlement, "_issue_for", broken)
        paid = purchase(site, licence=True)
        site.gateway.on_page(returns.refund, paid.gateway_reference, 900)
        told(site)
        assert site.rows(Refund) == [] and payment(site, paid.id).left_minor == 4900
        reasons = {row.reason: row.closed_at for row in site.rows(ReconciliationException)}
        assert reasons == {"not_recorded": None, "refund_exceeds": None}
    site.overdue()
    site.processor.reconcile()
    repeat_work(site)
    assert [(row.status, row.amount_minor, bool(row.number)) for row in site.rows(Refund)] == [("succeeded", 900, True)]
    assert books(site) == ([900], [900], [900], [900], [900]) and site.events().count("license_key.created") == 1
    assert all(row.closed_at for row in site.rows(ReconciliationException))
    agree(site)


@on_sqlite
def test_an_unbooked_payment_refunded_in_full_at_the_processor_delivers_nothing(site: Site) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settlement, "_issue_for", broken)
        paid = purchase(site, licence=True)
        site.gateway.on_page(returns.refund, paid.gateway_reference, 4900)
        told(site)
        assert [row.status for row in site.rows(Refund)] == ["succeeded"]
    site.overdue()
    site.processor.reconcile()
    assert "license_key.created" not in site.events() and site.rows(Invoice) == []
    agree(site)


def test_a_refund_that_was_closed_by_hand_and_fails_later_is_undone_where_it_was_recorded(site: Site) -> None:
    """Its minimal booking changed only the payment, so neither invoice nor totals are reduced below zero."""
    paid = purchase(site)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refund_outcomes, "take_number", broken)
        made = refunded(site, paid.id, amount_minor=900)
    [entry] = site.rows(ReconciliationException)
    assert (entry.reason, made.status, books(site)) == ("not_recorded", "succeeded", ([900], [0], [0], [0], [0]))
    with site.database.open(system(site.business_id), write=True) as db:
        close_manually(db, made.id, "Corrected the invoice.")
    site.gateway.on_page(returns.fail_refund, sandbox_refund(site, made))
    told(site)
    assert books(site) == ([0], [0], [0], [0], [0]) and payment(site, paid.id).left_minor == 4900
    assert [row.status for row in site.rows(Refund)] == ["failed"]
    [entry] = site.rows(ReconciliationException)
    assert (entry.reason, entry.closed_at) == ("refund_failed", None)
    assert refunded(site, paid.id).amount_minor == 4900
    site.balanced()


@pytest.mark.parametrize("by_dispute", [False, True])
def test_a_payment_closed_by_hand_is_booked_when_its_money_returns(site: Site, by_dispute: bool) -> None:
    """It was never booked, its money went back, and staff closed it. Then the refund fails, or the dispute is won after all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settlement, "_issue_for", broken)
        paid = purchase(site, licence=True)
        if by_dispute:
            site.gateway.on_page(returns.open_dispute, paid.gateway_reference)
            told(site)
            back = site.gateway.on_page(lambda c: c.execute("SELECT reference FROM disputes").fetchone()["reference"])
            with pytest.raises(Exception, match="PAYMENT_NOT_BOOKED"), site.database.open(system(site.business_id), write=True) as db:
                close_manually(db, paid.id, "It is only disputed.")
            site.gateway.on_page(returns.decide_dispute, back, "dispute_lost")
            told(site)
        else:
            back = sandbox_refund(site, refunded(site, paid.id))
        with site.database.open(system(site.business_id), write=True) as db:
            close_manually(db, paid.id, "All of it went back.")
        site.balanced()
        assert not payment(site, paid.id).is_open
        if by_dispute:
            site.gateway.on_page(lambda c: c.execute("UPDATE disputes SET status = 'dispute_challenged'"))
            site.gateway.on_page(returns.decide_dispute, back, "dispute_won")
        else:
            site.gateway.on_page(returns.fail_refund, back)
        told(site)
        [entry] = site.rows(ReconciliationException, id=paid.id)
        assert (entry.reason, entry.closed_at, entry.note) == ("not_recorded", None, None)
    with site.database.open(everything("time passes"), write=True) as db:
        db.scalar(select(Payment)).check_at = None
    site.processor.reconcile()
    assert site.events().count("license_key.created") == 1 and site.rows(Invoice)[0].paid_minor == 4900
    assert {row.refunded_minor for table in (CustomerTotal, SpendMonth) for row in site.rows(table)} == {0}
    site.balanced()


@on_sqlite
def test_a_failure_that_was_never_notified_is_found(site: Site) -> None:
    """Refunds are looked up 1, 3, 7, 14 and 30 days after they succeeded. An account that does not answer is asked again later."""
    paid = purchase(site)
    made = refunded(site, paid.id, amount_minor=900)
    told(site)
    site.gateway.on_page(returns.fail_refund, sandbox_refund(site, made))
    site.gateway.on_page(lambda c: c.execute("DELETE FROM notifications"))
    site.processor.reconcile()
    assert [row.status for row in site.rows(Refund)] == ["succeeded"]
    with time_machine.travel(clock.wall() + timedelta(days=1, minutes=5)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SandboxGateway, "look_up", broken)
            site.processor.reconcile()
        assert [row.status for row in site.rows(Refund)] == ["succeeded"]
    with time_machine.travel(clock.wall() + timedelta(days=3, minutes=10)):
        site.processor.reconcile()
    assert [row.status for row in site.rows(Refund)] == ["failed"] and books(site)[0] == [0]


@on_sqlite
def test_looking_again_ends_after_thirty_days(site: Site) -> None:
    paid = purchase(site)
    refunded(site, paid.id)
    asked, look_up = [], SandboxGateway.look_up
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SandboxGateway, "look_up", lambda self, trace: (asked.append(trace.key), look_up(self, trace))[1])
        for day in range(1, 60):
            with time_machine.travel(clock.wall() + timedelta(days=day)):
                site.processor.reconcile()
    assert len(asked) == 5 and site.rows(Refund)[0].check_at is None
    assert site.rows(Refund)[0].status == "succeeded"
