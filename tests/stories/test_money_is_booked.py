"""A successful payment is always recorded: in full, or in a minimal form that staff see and can complete."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from billing.charging import plan_change_effects, recognition, refund_outcomes, settlement, totals
from billing.charging import resolve_exception as by_staff
from billing.charging.reconciliation_exceptions import ReconciliationException
from billing.charging.refund import refund
from billing.model.invoices import Invoice
from billing.model.payments import Payment, Refund
from billing.renewals import renew
from core import clock
from core.db import ScopedSession
from core.errors import Conflict
from core.scope import everything, system
from tenants.imports.import_file import check, write
from tests.cast import Cast
from tests.stories.ada_subscription import Ada
from tests.stories.business_and_buyer import Site
from tests.unpaid_renewals import settle


@pytest.fixture
def site(processor_services: Any) -> Site:
    return Site.open(processor_services)


def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("something broke")


def imported(site: Site, folder: Path, *numbers: str) -> None:
    """Import payments with their invoice numbers from a file."""
    price = {"type": "one_time_price", "currency": "EUR", "price": 900}
    lines: list[dict[str, Any]] = [
        {"type": "product", "data": {"product_id": "pdt_1", "name": "Team", "price": price}},
        {"type": "customer", "data": {"customer_id": "cus_1", "email": "ben@marlow.example", "name": "Ben"}},
    ]
    lines += [
        {
            "type": "payment",
            "data": {
                "payment_id": f"pay_{n}",
                "customer": {"customer_id": "cus_1"},
                "product_cart": [{"product_id": "pdt_1", "quantity": 1}],
                "total_amount": 900,
                "currency": "EUR",
                "created_at": "2026-01-31T10:00:00Z",
                "status": "succeeded",
                "invoice_id": number,
            },
        }
        for n, number in enumerate(numbers)
    ]
    path = folder / "past.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    write(site.database, site.services.settings, site.business_id, "import", path, check(site.database, site.business_id, path))


@pytest.mark.parametrize(
    ("numbers", "following"),
    [
        (("ACO-0001",), ["ACO-0002", "ACO-0003"]),
        (("ACO-0007", "ACO-0003"), ["ACO-0008", "ACO-0009"]),
        (("RE-2025-0001", "ACO-0001-C1", "ACO-12345678901234567890"), ["ACO-0001", "ACO-0002"]),
        (("ACO-9999",), ["ACO-10000", "ACO-10001"]),
    ],
)
def test_a_series_starts_past_imported_numbers_of_its_own_shape(
    site: Site, tmp_path: Path, numbers: tuple[str, ...], following: list[str]
) -> None:
    imported(site, tmp_path, *numbers)
    payments = [site.buy().payment_id for _ in following]
    assert {row.status for row in site.rows(Payment) if row.id in payments} == {"succeeded"}
    bills = {row.id: row.number for row in site.rows(Invoice)}
    assert [bills[site.rows(Payment, id=payment)[0].invoice_id] for payment in payments] == following


def test_a_series_skips_numbers_that_were_imported_later(site: Site, tmp_path: Path) -> None:
    site.buy()
    imported(site, tmp_path, "ACO-0002")
    assert site.buy().status == "succeeded"
    assert sorted(row.number for row in site.rows(Invoice)) == ["ACO-0001", "ACO-0002", "ACO-0003"]


BREAKS = {
    "the invoice": (settlement, "issue"),
    "the number": (settlement, "_issue_for"),
    "the totals": (totals, "add_paid"),
    "the event": (settlement, "emit"),
    "what it was paid for": (settlement, "apply_payment"),
    "the buyer": (recognition, "record_payment"),
    "a missing row": (settlement, "_customer"),
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_success_is_recorded_minimally_when_recording_fails(site: Site, what: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*BREAKS[what], broken)
        started = site.buy(licence=True)
    assert started.status == "succeeded"
    [waits] = site.rows(ReconciliationException)
    assert (waits.id, waits.noun, waits.reason, waits.detail) == (started.payment_id, "payment", "not_recorded", "RuntimeError")
    assert site.events().count("reconciliation_exception.opened") == 1
    site.overdue()
    site.processor.reconcile()  # the normal booking is completed when nothing breaks any more
    [payment] = site.rows(Payment)
    assert (payment.status, payment.is_open) == ("succeeded", False) and payment.invoice_id
    assert site.rows(ReconciliationException)[0].closed_at and site.events().count("payment.succeeded") == 1
    assert site.events().count("license_key.created") == 1
    site.balanced()


def test_the_minimal_record_needs_no_events(site: Site) -> None:
    def no_events(db: ScopedSession, *rows: Any, **_: Any) -> None:
        raise RuntimeError("no event can be written")

    from billing.charging import reconciliation_exceptions

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settlement, "emit", no_events)
        patch.setattr(reconciliation_exceptions, "emit", no_events)
        assert site.buy().status == "succeeded"
    assert [row.reason for row in site.rows(ReconciliationException)] == ["not_recorded"]


def test_an_unrecorded_renewal_is_not_charged_again(site: Site) -> None:
    site.subscribe()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settlement, "apply_payment", broken)
        site.pass_period()
        charges = len(site.charges())
        for _ in range(3):
            site.overdue()
            site.work()
            renew.run_due(site.processor)
        assert len(site.charges()) == charges == 2
    site.overdue()
    site.processor.reconcile()
    item = site.subscription()
    assert item.next_billing_at > clock.now() and item.status == "active" and len(site.charges()) == charges
    site.balanced()


def test_a_late_success_that_cannot_be_recorded_is_completed_too(site: Site) -> None:
    """The payment had been cancelled, so no open row represents it."""
    from billing.charging.ports import ChargeOutcome
    from core.money import Money

    site.gateway.turn_knob("next_charge", "")
    started = site.subscribe(card="4000000000000002")
    [payment] = site.rows(Payment, id=started.payment_id)
    assert payment.status == "failed"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(totals, "add_paid", broken)
        taken = ChargeOutcome("succeeded", payment.key, amount=Money(payment.amount_minor, payment.currency))
        assert site.processor.record(site.business_id, payment.id, taken) == "succeeded"
    assert not site.rows(Payment, id=payment.id)[0].is_open
    site.processor.record(site.business_id, payment.id, taken)
    assert [row.amount_minor for row in site.rows(Refund)] == [payment.amount_minor]  # nothing was owed any more
    assert site.rows(ReconciliationException)[0].closed_at


def test_staff_complete_or_refund_unrecorded_payments(site: Site) -> None:
    scope = system(site.business_id)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settlement, "_issue_for", broken)
        first, second = site.buy().payment_id, site.buy().payment_id
        assert by_staff.check_again(site.processor, scope, first) is False
        with pytest.raises(Conflict, match="PAYMENT_NOT_BOOKED"), site.database.open(scope, write=True) as db:
            by_staff.close_manually(db, second, "Looked at it")
        assert refund(site.processor, scope, second).status == "succeeded"
        with site.database.open(scope, write=True) as db:
            by_staff.close_manually(db, second, "Refunded")
    assert by_staff.check_again(site.processor, scope, first) is True
    assert all(not row.is_open for row in site.rows(Payment)) and len(site.rows(Invoice)) == 1


def test_unrecorded_payments_cannot_be_refunded_in_part(site: Site) -> None:
    """The rest would stay charged for something that is never delivered."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settlement, "_issue_for", broken)
        paid = site.buy(licence=True).payment_id
        with pytest.raises(Conflict, match="PAYMENT_NOT_BOOKED"):
            refund(site.processor, system(site.business_id), paid, amount_minor=1)
    assert by_staff.check_again(site.processor, system(site.business_id), paid) is True
    assert site.events().count("license_key.created") == 1
    assert refund(site.processor, system(site.business_id), paid, amount_minor=1).status == "succeeded"
    site.balanced()


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_renewal_refunded_before_recording_is_not_charged_again(site: Site, by_hand: bool) -> None:
    scope = system(site.business_id)
    site.subscribe()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settlement, "apply_payment", broken)
        site.pass_period()
        [taken] = [row for row in site.rows(Payment) if row.charge_type == "renewal"]
        assert refund(site.processor, scope, taken.id).status == "succeeded"
        if by_hand:
            with site.database.open(scope, write=True) as db:
                by_staff.close_manually(db, taken.id, "Refunded")
    charges = len(site.charges())
    for _ in range(3):
        site.overdue()
        site.processor.reconcile()
        renew.run_due(site.processor)
    assert len(site.charges()) == charges and site.subscription().status == "on_hold"
    assert all(not row.is_open for row in site.rows(Payment)) and site.rows(ReconciliationException)[0].closed_at


def test_a_successful_refund_is_always_recorded(site: Site) -> None:
    paid = site.buy().payment_id
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refund_outcomes, "take_number", broken)
        assert refund(site.processor, system(site.business_id), paid).status == "succeeded"
    [payment] = site.rows(Payment)
    assert payment.refunded_minor == payment.amount_minor
    assert [(row.noun, row.reason) for row in site.rows(ReconciliationException)] == [("refund", "not_recorded")]
    with site.database.open(everything("time passes"), write=True) as db:
        db.scalar(select(Refund)).check_at = None
    site.processor.reconcile()
    [back], [invoice] = site.rows(Refund), site.rows(Invoice)
    assert (
        back.number
        and back.check_at > clock.wall()  # looked up again in some days
        and invoice.refunded_minor == back.amount_minor
        and site.rows(ReconciliationException)[0].closed_at
    )
    site.balanced()


def test_a_plan_change_that_cannot_be_recorded_is_completed_later(cast: Cast) -> None:
    ada = Ada(cast)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_change_effects, "apply", broken)
        assert ada.confirm(ada.quote(ada.max).id).status == "succeeded"
        assert ada.subscription.product_id == ada.team
        with pytest.raises(Conflict, match="PREVIOUS_PAYMENT_PENDING"):
            ada.quote(ada.max)
    with ada.services.database.open(ada.business, write=True) as db:
        db.scalar(select(Payment).where(Payment.charge_type == "plan_change")).check_at = None
    ada.processor.reconcile()
    settle(cast)
    assert ada.subscription.product_id == ada.max and len(ada.payments("plan_change")) == 1
