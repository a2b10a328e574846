"""A payment that succeeded is recorded whatever breaks: in full, or in a minimal form that staff see and can complete."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from billing import knowing, plan_switch, renewals, settlement, totals
from billing import refunds as refunding
from billing.commands import parked as by_staff
from billing.commands.refunding import refund
from billing.invoices import Invoice
from billing.parked import Parked
from billing.payments import Payment, Refund
from core import clock
from core.db import ScopedSession
from core.errors import Conflict
from core.scope import everything, system
from tenants.loading.importing import check, write
from tests.cast import Cast
from tests.stories.plans import Ada
from tests.stories.shop import Shop
from tests.unpaid import settle


@pytest.fixture
def shop(till_house: Any) -> Shop:
    return Shop.open(till_house)


def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("something broke")


def imported(shop: Shop, folder: Path, *numbers: str) -> None:
    """Payments loaded from a file with the numbers of their invoices."""
    price = {"type": "one_time_price", "currency": "EUR", "price": 900}
    lines: list[dict[str, Any]] = [
        {"type": "product", "data": {"product_id": "pdt_1", "name": "Team", "price": price}},
        {"type": "customer", "data": {"customer_id": "cus_1", "email": "ben@marlow.example", "name": "Ben"}},
    ]
    lines += [{"type": "payment", "data": {
        "payment_id": f"pay_{n}", "customer": {"customer_id": "cus_1"}, "product_cart": [{"product_id": "pdt_1", "quantity": 1}],
        "total_amount": 900, "currency": "EUR", "created_at": "2026-01-31T10:00:00Z", "status": "succeeded", "invoice_id": number,
    }} for n, number in enumerate(numbers)]
    path = folder / "past.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    write(shop.database, shop.house.settings, shop.business_id, "import", path, check(shop.database, shop.business_id, path))


@pytest.mark.parametrize(("numbers", "following"), [
    (("ACO-0001",), ["ACO-0002", "ACO-0003"]),
    (("ACO-0007", "ACO-0003"), ["ACO-0008", "ACO-0009"]),
    (("RE-2025-0001", "ACO-0001-C1", "ACO-12345678901234567890"), ["ACO-0001", "ACO-0002"]),
    (("ACO-9999",), ["ACO-10000", "ACO-10001"]),
])
def test_a_series_starts_past_imported_numbers_of_its_own_shape(
    shop: Shop, tmp_path: Path, numbers: tuple[str, ...], following: list[str]
) -> None:
    imported(shop, tmp_path, *numbers)
    payments = [shop.buy().payment_id for _ in following]
    assert {one.status for one in shop.rows(Payment) if one.id in payments} == {"succeeded"}
    bills = {one.id: one.number for one in shop.rows(Invoice)}
    assert [bills[shop.rows(Payment, id=one)[0].invoice_id] for one in payments] == following


def test_a_series_goes_on_past_numbers_that_were_imported_later(shop: Shop, tmp_path: Path) -> None:
    shop.buy()
    imported(shop, tmp_path, "ACO-0002")
    assert shop.buy().status == "succeeded"
    assert sorted(one.number for one in shop.rows(Invoice)) == ["ACO-0001", "ACO-0002", "ACO-0003"]


BREAKS = {
    "the invoice": (settlement, "issue"), "the number": (settlement, "_issue_for"), "the totals": (totals, "paid"),
    "the event": (settlement, "emit"), "what it was paid for": (settlement, "paid_for"), "the buyer": (knowing, "paid"),
    "a missing row": (settlement, "_customer"),
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_success_is_booked_in_a_minimal_form_when_recording_it_raises(shop: Shop, what: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*BREAKS[what], broken)
        started = shop.buy(licence=True)
    assert started.status == "succeeded"
    [waits] = shop.rows(Parked)
    assert (waits.id, waits.noun, waits.reason, waits.detail) == (started.payment_id, "payment", "not_recorded", "RuntimeError")
    assert shop.events().count("money.parked") == 1
    shop.overdue()
    shop.till.reconcile()  # the normal booking is completed when nothing breaks any more
    [payment] = shop.rows(Payment)
    assert (payment.status, payment.is_open) == ("succeeded", False) and payment.invoice_id
    assert shop.rows(Parked)[0].closed_at and shop.events().count("payment.succeeded") == 1
    assert shop.events().count("license_key.created") == 1
    shop.balanced()


def test_the_minimal_form_does_without_events_too(shop: Shop) -> None:
    def no_events(db: ScopedSession, *rows: Any, **_: Any) -> None:
        raise RuntimeError("no event can be written")

    from billing import parked

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settlement, "emit", no_events)
        patch.setattr(parked, "emit", no_events)
        assert shop.buy().status == "succeeded"
    assert [one.reason for one in shop.rows(Parked)] == ["not_recorded"]


def test_an_unbooked_renewal_is_not_charged_again(shop: Shop) -> None:
    shop.subscribe()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settlement, "paid_for", broken)
        shop.pass_period()
        charges = len(shop.charges())
        for _ in range(3):
            shop.overdue()
            shop.work()
            renewals.run_due(shop.till)
        assert len(shop.charges()) == charges == 2
    shop.overdue()
    shop.till.reconcile()
    one = shop.subscription()
    assert one.next_billing_at > clock.now() and one.status == "active" and len(shop.charges()) == charges
    shop.balanced()


def test_a_late_success_that_cannot_be_recorded_is_completed_too(shop: Shop) -> None:
    """The payment had been given up: nothing is open that stands for it."""
    from billing.ports import Outcome
    from core.money import Money

    shop.gateway.turn_knob("next_charge", "")
    started = shop.subscribe(card="4000000000000002")
    [payment] = shop.rows(Payment, id=started.payment_id)
    assert payment.status == "failed"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(totals, "paid", broken)
        taken = Outcome("succeeded", payment.key, amount=Money(payment.amount_minor, payment.currency))
        assert shop.till.record(shop.business_id, payment.id, taken) == "succeeded"
    assert not shop.rows(Payment, id=payment.id)[0].is_open
    shop.till.record(shop.business_id, payment.id, taken)
    assert [one.amount_minor for one in shop.rows(Refund)] == [payment.amount_minor]  # nothing was owed any more
    assert shop.rows(Parked)[0].closed_at


def test_staff_complete_or_refund_what_was_not_booked(shop: Shop) -> None:
    scope = system(shop.business_id)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settlement, "_issue_for", broken)
        first, second = shop.buy().payment_id, shop.buy().payment_id
        assert by_staff.ask_again(shop.till, scope, first) is False
        with pytest.raises(Conflict, match="PAYMENT_NOT_BOOKED"), shop.database.open(scope, write=True) as db:
            by_staff.close_by_hand(db, second, "Looked at it")
        assert refund(shop.till, scope, second).status == "succeeded"
        with shop.database.open(scope, write=True) as db:
            by_staff.close_by_hand(db, second, "Refunded")
    assert by_staff.ask_again(shop.till, scope, first) is True
    assert all(not one.is_open for one in shop.rows(Payment)) and len(shop.rows(Invoice)) == 1


def test_a_part_of_money_that_is_not_booked_cannot_be_refunded(shop: Shop) -> None:
    """The rest would be kept for something that is never delivered."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settlement, "_issue_for", broken)
        paid = shop.buy(licence=True).payment_id
        with pytest.raises(Conflict, match="PAYMENT_NOT_BOOKED"):
            refund(shop.till, system(shop.business_id), paid, amount_minor=1)
    assert by_staff.ask_again(shop.till, system(shop.business_id), paid) is True
    assert shop.events().count("license_key.created") == 1
    assert refund(shop.till, system(shop.business_id), paid, amount_minor=1).status == "succeeded"
    shop.balanced()


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_renewal_that_was_refunded_before_it_was_booked_is_not_charged_again(shop: Shop, by_hand: bool) -> None:
    scope = system(shop.business_id)
    shop.subscribe()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settlement, "paid_for", broken)
        shop.pass_period()
        [taken] = [one for one in shop.rows(Payment) if one.charge_type == "renewal"]
        assert refund(shop.till, scope, taken.id).status == "succeeded"
        if by_hand:
            with shop.database.open(scope, write=True) as db:
                by_staff.close_by_hand(db, taken.id, "Refunded")
    charges = len(shop.charges())
    for _ in range(3):
        shop.overdue()
        shop.till.reconcile()
        renewals.run_due(shop.till)
    assert len(shop.charges()) == charges and shop.subscription().status == "on_hold"
    assert all(not one.is_open for one in shop.rows(Payment)) and shop.rows(Parked)[0].closed_at


def test_a_refund_that_succeeded_is_booked_whatever_breaks(shop: Shop) -> None:
    paid = shop.buy().payment_id
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refunding, "take_number", broken)
        assert refund(shop.till, system(shop.business_id), paid).status == "succeeded"
    [payment] = shop.rows(Payment)
    assert payment.refunded_minor == payment.amount_minor
    assert [(one.noun, one.reason) for one in shop.rows(Parked)] == [("refund", "not_recorded")]
    with shop.database.open(everything("time passes"), write=True) as db:
        db.scalar(select(Refund)).check_at = None
    shop.till.reconcile()
    [back], [invoice] = shop.rows(Refund), shop.rows(Invoice)
    assert back.number and back.check_at is None and invoice.refunded_minor == back.amount_minor and shop.rows(Parked)[0].closed_at
    shop.balanced()


def test_a_plan_change_that_cannot_be_recorded_is_completed_later(cast: Cast) -> None:
    ada = Ada(cast)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_switch, "apply", broken)
        assert ada.confirm(ada.quote(ada.max).id).status == "succeeded"
        assert ada.subscription.product_id == ada.team
        with pytest.raises(Conflict, match="PREVIOUS_PAYMENT_PENDING"):
            ada.quote(ada.max)
    with ada.house.database.open(ada.business, write=True) as db:
        db.scalar(select(Payment).where(Payment.charge_type == "plan_change")).check_at = None
    ada.till.reconcile()
    settle(cast)
    assert ada.subscription.product_id == ada.max and len(ada.payments("plan_change")) == 1
