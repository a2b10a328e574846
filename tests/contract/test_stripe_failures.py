"""The adapter moves money exactly once although calls fail at Stripe: lost calls, stored errors, forgotten keys."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine

from billing.charging.ports import RefundRequest
from core.clock import wall
from core.errors import Conflict, Gone, Unavailable
from core.money import Money
from gateways.stripe import api, charges
from tests.contract.stripe_rigs import StandInRig
from tests.contract.test_gateway import charge_of, page_of, refund_of, refund_trace
from tests.harness.stripe_standin import running

CALLS = ("/payment_intents", "/confirm")
TROUBLES = ("drop before", "drop", "500", "500 after", "429")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[StandInRig]:
    with running() as stand_in:
        yield StandInRig(tmp_path, stand_in)
        assert stand_in.mistakes == []


@pytest.mark.parametrize("sequence", list(itertools.product(TROUBLES, CALLS, TROUBLES, CALLS)), ids=lambda item: " then ".join(item))
def test_two_troubles_in_one_charge_move_money_once(rig: StandInRig, sequence: tuple[str, str, str, str]) -> None:
    """The first trouble, then the second one; and then the charge is sent again until its outcome is known."""
    request = charge_of(rig)
    for what, ending in (sequence[:2], sequence[2:]):
        rig.stand_in.on_next("POST", ending, what)
    states = []
    for _ in range(4):
        states.append(rig.gateway.charge(request).state)
        if states[-1] == "succeeded":
            break
        assert states[-1] == "unknown" and rig.gateway.look_up(rig.trace("charge-1")).state in ("not_found", "succeeded")
    assert states[-1] == "succeeded" == rig.gateway.look_up(rig.trace("charge-1")).state
    assert [key for _, key, _ in rig.movements()] == ["charge-1"]


@pytest.mark.parametrize(("ending", "what"), list(itertools.product(CALLS, TROUBLES)))
def test_a_charge_in_trouble_can_be_cancelled_and_then_never_happens(rig: StandInRig, ending: str, what: str) -> None:
    request = charge_of(rig)
    rig.stand_in.on_next("POST", ending, what)
    first = rig.gateway.charge(request).state
    cancelled = rig.gateway.cancel(rig.trace("charge-1")).state
    moved = [key for _, key, _ in rig.movements()]
    assert cancelled == ("succeeded" if moved else "cancelled") and first in ("unknown", "succeeded")
    assert rig.gateway.charge(request).state == cancelled == rig.gateway.look_up(rig.trace("charge-1")).state
    assert [key for _, key, _ in rig.movements()] == moved


def test_a_stored_error_is_answered_by_confirming_the_same_intent(rig: StandInRig) -> None:
    request = charge_of(rig)
    rig.stand_in.on_next("POST", "/confirm", "500")
    assert rig.gateway.charge(request).state == "unknown"
    assert rig.gateway.charge(request).state == "succeeded"
    intents = rig.account.every("payment_intent")
    assert len(intents) == 1 and {key for key in rig.account.stored if "confirm" in key} == {
        f"{request.key}/confirm",
        f"{request.key}/confirm/2",
    }


def test_a_second_intent_of_one_charge_is_never_confirmed(rig: StandInRig) -> None:
    """A stored error can hide that the first request made an intent after all. Two processes may then hold one intent each."""
    request = charge_of(rig)
    first, second = (charges._create(rig.gateway._api, replace(request, key=key)) for key in (request.key, "other"))
    assert first["id"] != second["id"]
    rig.account.get(second["id"], "payment_intent")["metadata"] = dict(first["metadata"])
    assert charges._confirm(rig.gateway._api, request, first)["status"] == "succeeded"
    with pytest.raises(api.Unanswered):
        charges._confirm(rig.gateway._api, request, second)
    assert [key for _, key, _ in rig.movements()] == ["charge-1"]
    assert rig.gateway.charge(request).state == "succeeded" == rig.gateway.look_up(rig.trace("charge-1")).state


def test_a_stored_error_of_a_refund_is_never_sent_under_another_key(rig: StandInRig) -> None:
    """A second key could refund twice. The refund stays unknown until a person looks, or Stripe's answer changes."""
    rig.gateway.charge(charge_of(rig, "paid"))
    rig.stand_in.on_next("POST", "/refunds", "500")
    assert [rig.gateway.refund(refund_of(rig)).state for _ in range(3)] == ["unknown"] * 3
    assert rig.gateway.look_up(refund_trace(rig)).state == "not_found"
    assert len(rig.movements()) == 1 and len(rig.account.every("refund")) == 0


def test_a_refund_that_was_done_behind_an_error_is_found(rig: StandInRig) -> None:
    rig.gateway.charge(charge_of(rig, "paid"))
    rig.stand_in.on_next("POST", "/refunds", "500 after")
    assert rig.gateway.refund(refund_of(rig)).state == "succeeded" == rig.gateway.refund(refund_of(rig)).state
    assert len(rig.account.every("refund")) == 1


def test_a_key_that_stripe_forgot_is_found_by_look_up(rig: StandInRig) -> None:
    """After a day, the key alone protects nothing. The window ends before, and a look-up still finds the charge."""
    request = charge_of(rig)
    rig.stand_in.on_next("POST", "/confirm", "drop")
    assert rig.gateway.charge(request).state == "unknown"
    with time_machine.travel(wall() + timedelta(hours=25)):
        assert rig.gateway.resend_window < timedelta(hours=24)
        assert rig.gateway.look_up(replace(rig.trace("charge-1"), sent_at=wall() - timedelta(hours=25))).state == "succeeded"
        assert rig.gateway.cancel(rig.trace("charge-1")).state == "succeeded"
    assert len(rig.movements()) == 1


def test_a_charge_of_yesterday_that_was_never_confirmed_can_be_cancelled(rig: StandInRig) -> None:
    request = charge_of(rig)
    rig.stand_in.on_next("POST", "/confirm", "drop before")
    assert rig.gateway.charge(request).state == "unknown"
    with time_machine.travel(wall() + timedelta(hours=25)):
        assert rig.gateway.look_up(rig.trace("charge-1")).state == "not_found"
        assert rig.gateway.cancel(rig.trace("charge-1")).state == "cancelled" == rig.gateway.look_up(rig.trace("charge-1")).state
    assert rig.movements() == []


def test_a_create_that_arrives_after_the_cancel_has_no_effect(rig: StandInRig) -> None:
    """The request of a process that is gone travels for a second, and arrives after the cancel."""
    request, late = charge_of(rig), []
    rig.stand_in.on_next("POST", "/payment_intents", "slow 0.8")
    thread = threading.Thread(target=lambda: late.append(rig.gateway.charge(request)))
    thread.start()
    while not any(path.endswith("attach") for _, path, _ in rig.stand_in.calls) or rig.stand_in._knobs:
        pass
    assert rig.gateway.cancel(rig.trace("charge-1")).state == "cancelled"
    thread.join()
    assert late[0].state == "cancelled" == rig.gateway.look_up(rig.trace("charge-1")).state and rig.movements() == []


def test_a_rate_limit_is_waited_for_briefly(rig: StandInRig) -> None:
    request = charge_of(rig)
    rig.stand_in.on_next("POST", "/payment_intents", "429", times=3)
    assert rig.gateway.charge(request).state == "succeeded"
    rig.stand_in.retry_after = "30"
    rig.stand_in.on_next("POST", "/payment_intents", "429")
    began = wall()
    assert rig.gateway.charge(charge_of(rig, "later")).state == "unknown"
    assert wall() - began < timedelta(seconds=5)
    assert rig.gateway.charge(charge_of(rig, "later")).state == "succeeded"


def test_a_silent_service_is_unknown_and_a_slow_one_is_waited_for(rig: StandInRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "TIMEOUT", 0.4)
    request = charge_of(rig)
    rig.stand_in.on_next("POST", "/confirm", "slow 1")
    assert rig.gateway.charge(request).state == "unknown"
    rig.stand_in.on_next("POST", "/confirm", "slow 0.1")
    assert rig.gateway.charge(charge_of(rig, "other")).state == "succeeded"
    threading.Event().wait(0.8)
    assert rig.gateway.look_up(rig.trace("charge-1")).state == "succeeded"
    assert sorted(key for _, key, _ in rig.movements()) == ["charge-1", "other"]


def test_a_key_that_is_not_accepted_is_unknown_and_raises_where_nothing_moves(rig: StandInRig) -> None:
    request, page = charge_of(rig), page_of(rig)[0]
    del rig.stand_in.accounts[rig.key]
    outcome = rig.gateway.charge(request)
    assert outcome.state == "unknown" and "Invalid API Key" in (outcome.error_message or "")
    assert rig.gateway.look_up(rig.trace("charge-1")).state == "unknown"
    for call in (lambda: rig.gateway.collect(page), lambda: rig.gateway.forget("pm_1")):
        with pytest.raises(Unavailable):
            call()
    rig.stand_in.accounts[rig.key] = rig.account
    assert rig.gateway.charge(request).state == "succeeded"


def test_a_page_whose_answer_was_lost_is_opened_again(rig: StandInRig) -> None:
    rig.customer()
    rig.stand_in.on_next("POST", "/sessions", "drop")
    with pytest.raises(Unavailable):
        page_of(rig)
    page_of(rig)
    assert len(rig.account.every("checkout.session")) == 1


def test_a_page_cancelled_before_it_was_opened_is_never_opened(rig: StandInRig) -> None:
    trace = rig.trace("page-1", "collect")
    assert rig.gateway.cancel(trace).state == "cancelled" == rig.gateway.look_up(trace).state
    with pytest.raises(Gone):
        page_of(rig)


def test_an_expired_page_is_cancelled_and_says_when_it_expires(rig: StandInRig) -> None:
    request, _, trace = page_of(rig)
    page = rig.gateway.collect(request)
    assert page.expires_at is not None and timedelta(hours=23) < page.expires_at - wall() <= timedelta(hours=24)
    with time_machine.travel(wall() + timedelta(hours=25)):
        assert rig.gateway.look_up(trace).state == "cancelled"


def test_a_decline_whose_cancel_was_lost_is_unknown_and_then_final(rig: StandInRig) -> None:
    request = charge_of(rig, kind="plain")
    rig.stand_in.on_next("POST", "/cancel", "drop before")
    assert rig.gateway.charge(request).state == "unknown"
    assert rig.gateway.look_up(rig.trace("charge-1")).state == "declined"
    assert {intent["status"] for intent in rig.account.every("payment_intent")} == {"canceled"}


def test_a_refund_of_a_page_finds_its_intent_without_a_reference(rig: StandInRig) -> None:
    _, reference, trace = page_of(rig)
    rig.fill_in(reference)
    assert rig.gateway.refund(RefundRequest(rig.operation("r"), trace, "bus_acorn", Money(100, "GBP"))).state == "succeeded"
    again = RefundRequest(rig.operation("r"), replace(trace, reference=reference), "bus_acorn", Money(100, "GBP"))
    assert rig.gateway.refund(again).state == "succeeded" and len(rig.account.every("refund")) == 1
    with pytest.raises(Conflict):
        rig.gateway.refund(replace(again, amount=Money(101, "GBP")))
