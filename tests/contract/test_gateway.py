"""The contract tests for implementations of billing.charging.ports.Gateway. Money moves once per key, whatever fails.

A rig creates a gateway, saves payment methods, fills in its page, answers the bank, and injects failures. The rig of a real provider uses
its test mode. To test another gateway, add a class to `RIGS`: the tests use only the port and the rig.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine

from billing.charging.ports import ChargeRequest, CollectRequest, Gateway, RefundRequest
from core import clock
from core.clock import wall
from core.errors import Conflict, Unauthorized
from core.money import Money
from gateways.sandbox import SandboxGateway
from gateways.sandbox.cards import TEST_CARDS, CardForm

ADA = {"business_id": "bus_acorn", "customer_id": "cus_ada"}
CARD = {"good": "4242424242424242", "poor": "4000000000009995", "old": "4000000000000069", "plain": "4000000000000002", "slow":
        "4000000000000259", "renewals fail": "4000000000000341", "challenge": "4000002500003155", "lost": "4000000000006975"}  # fmt: skip


class SandboxRig:
    def __init__(self, folder: Path):
        self.file = folder / "sandbox.db"
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.gateway = SandboxGateway(self.file, "http://127.0.0.1:5000", "secret", lambda *told: self.heard.append(told))

    def method(self, kind: str = "good", customer_id: str = "cus_ada", expires: tuple[int, int] = (6, 2032)) -> str:
        return self.gateway.save_method(customer_id, CARD[kind], *expires, "Ada Marlow").reference

    def fill_in(self, reference: str, card: CardForm) -> Any:
        """Enter a card on the hosted page. Returns an object with `.state`, `.error_code`, `.challenge`, `.open`."""
        return self.gateway.submit_page(reference, card)

    def answer_bank(self, reference: str, approved: bool) -> Any:
        return self.gateway.answer_challenge(reference, approved)

    def misbehave(self, name: str, value: object) -> None:
        """`next_charge`, `next_refund`: lost, slow, crash_before, crash_after; `delay`, `repeat`, `reorder` of notifications."""
        self.gateway.turn_knob(name, value)

    def deliver(self) -> int:
        """Deliver due notifications to `heard`. Returns how many."""
        return self.gateway.deliver_due()

    def movements(self) -> list[tuple[str, str, Money]]:
        """Return the provider's ledger: (kind, key, amount) of every movement."""
        return self.gateway.movements()


RIGS = [SandboxRig]


@pytest.fixture(params=RIGS, ids=lambda rig: rig.__name__)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> SandboxRig:
    return request.param(tmp_path)


def charge_of(rig: SandboxRig, key: str = "charge-1", kind: str = "good", minor: int = 5400, **more: object) -> ChargeRequest:
    return ChargeRequest(key, **ADA, method_reference=rig.method(kind), amount=Money(minor, "GBP"), description="Acorn Team", **more)


def page_of(rig: SandboxRig, key: str = "page-1", minor: int | None = 5400) -> tuple[CollectRequest, str]:
    amount = None if minor is None else Money(minor, "GBP")
    request = CollectRequest(key, **ADA, amount=amount, description="Acorn Team", return_url="http://127.0.0.1:5000/back?payment_id=pay_1")
    return request, rig.gateway.collect(request).reference


def typed(kind: str = "good") -> CardForm:
    return CardForm(CARD[kind], "06/32", "123", "Ada Marlow", "GB", "N1 9GU")


def test_the_gateway_implements_the_port(rig):
    gateway: Gateway = rig.gateway
    assert gateway.name == "dodo" and gateway.resend_window == timedelta(hours=24)


def test_a_repeated_charge_has_one_effect_and_one_answer(rig):
    request = charge_of(rig)
    first = rig.gateway.charge(request)
    assert first == rig.gateway.charge(replace(request, description="other words")) == rig.gateway.look_up(request.key)
    assert first.state == "succeeded" and first.amount == request.amount and first.method.last4 == "4242"
    assert rig.movements() == [("charge", request.key, request.amount)]


def test_a_key_with_another_request_is_refused(rig):
    request = charge_of(rig)
    rig.gateway.charge(request)
    for other in (replace(request, amount=Money(5401, "GBP")), replace(request, amount=Money(5400, "USD")),
                  replace(request, customer_id="cus_ben"), replace(request, method_reference=rig.method())):  # fmt: skip
        with pytest.raises(Conflict):
            rig.gateway.charge(other)
    with pytest.raises(Conflict):
        rig.gateway.refund(RefundRequest(request.key, request.key, "bus_acorn", request.amount))
    assert len(rig.movements()) == 1


def test_threads_with_one_key_charge_once(rig):
    request, answers, start = charge_of(rig), [], threading.Barrier(8)

    def go() -> None:
        start.wait()
        answers.append(rig.gateway.charge(request))

    threads = [threading.Thread(target=go) for _ in range(8)]
    for step in (threading.Thread.start, threading.Thread.join):
        list(map(step, threads))
    assert len(answers) == 8 and len(set(answers)) == 1
    assert len(rig.movements()) == 1


@pytest.mark.parametrize(("knob", "state"), [("crash_before", "not_found"), ("crash_after", "succeeded")])
@pytest.mark.parametrize("verb", ["charge", "refund"])
def test_a_killed_process_moves_money_at_most_once(rig, verb, knob, state):
    paid = charge_of(rig, "paid")
    rig.gateway.charge(paid)
    request = charge_of(rig) if verb == "charge" else RefundRequest("refund-1", "paid", "bus_acorn", Money(5400, "GBP"))
    rig.misbehave(f"next_{verb}", knob)
    script = (
        "import sys; from pathlib import Path; from billing.charging.ports import *; from core.money import Money;"
        "from gateways.sandbox import SandboxGateway;"
        f"SandboxGateway(Path(sys.argv[1]), 'http://127.0.0.1:5000', 'secret').{verb}({request!r})"
    )
    died = subprocess.run([sys.executable, "-c", script, str(rig.file)], cwd=Path(__file__).parents[2], capture_output=True, timeout=30)
    assert died.returncode == -9, died.stderr
    assert rig.gateway.look_up(request.key).state == state
    after = getattr(rig.gateway, verb)(request)
    assert after.state == "succeeded" and rig.gateway.look_up(request.key) == after
    assert [kind for kind, key, _ in rig.movements() if key == request.key] == [verb]


@pytest.mark.parametrize(
    ("kind", "code"), [("poor", "INSUFFICIENT_FUNDS"), ("plain", "GENERIC_DECLINE"), ("old", "EXPIRED_CARD"),
                       ("renewals fail", "GENERIC_DECLINE"), ("challenge", "AUTHENTICATION_REQUIRED")]
)  # fmt: skip
def test_a_decline_is_final_and_has_a_reason(rig, kind, code):
    answer = rig.gateway.charge(charge_of(rig, kind=kind))
    assert (answer.state, answer.error_code, answer.amount) == ("declined", code, None) and answer.error_message
    assert rig.gateway.cancel("charge-1") == answer == rig.gateway.look_up("charge-1")


def test_somebody_elses_method_cannot_be_charged(rig):
    request = replace(charge_of(rig), method_reference=rig.method(customer_id="cus_ben"))
    assert rig.gateway.charge(request).error_code == "MANDATE_INVALID"
    assert rig.movements() == []


def test_a_lost_answer_is_unknown_until_looked_up(rig):
    request = charge_of(rig, kind="lost")
    assert rig.gateway.charge(request).state == "unknown"
    assert rig.gateway.look_up(request.key).state == "succeeded" == rig.gateway.charge(request).state
    assert len(rig.movements()) == 1


def test_a_slow_charge_is_processing_and_then_settles(rig):
    assert rig.gateway.charge(charge_of(rig, kind="slow")).state == "processing" == rig.gateway.look_up("charge-1").state
    with time_machine.travel(wall() + timedelta(seconds=4)):
        assert rig.gateway.look_up("charge-1").state == "succeeded"


def test_an_unknown_key_is_answered_with_not_found(rig):
    assert rig.gateway.look_up("never").state == "not_found"


def test_a_charge_cancelled_first_never_happens(rig):
    request = charge_of(rig)
    assert rig.gateway.cancel(request.key).state == "cancelled"
    assert rig.gateway.charge(request).state == "cancelled" == rig.gateway.charge(request).state
    assert rig.movements() == []
    with pytest.raises(Conflict):
        rig.gateway.charge(replace(request, amount=Money(1, "GBP")))


def test_cancel_stops_open_charges_only(rig):
    rig.gateway.charge(charge_of(rig, "slow", "slow"))
    assert rig.gateway.cancel("slow").state == "cancelled"
    rig.gateway.charge(charge_of(rig, "done"))
    assert rig.gateway.cancel("done").state == "succeeded"
    request, reference = page_of(rig)
    assert rig.gateway.cancel(request.key).state == "cancelled"
    assert rig.fill_in(reference, typed()).state == "cancelled"
    with time_machine.travel(wall() + timedelta(minutes=1)):
        assert [key for _, key, _ in rig.movements()] == ["done"]


def test_refunds_never_exceed_the_charge(rig):
    rig.gateway.charge(charge_of(rig, "paid"))
    part = RefundRequest("refund-1", "paid", "bus_acorn", Money(4000, "GBP"))
    assert rig.gateway.refund(part) == rig.gateway.refund(part) == rig.gateway.look_up("refund-1")
    assert rig.gateway.refund(replace(part, key="refund-2")).state == "declined"
    assert rig.gateway.refund(replace(part, key="refund-3", amount=Money(1400, "USD"))).state == "declined"
    assert rig.gateway.refund(replace(part, key="refund-4", business_id="bus_birch", amount=Money(1, "GBP"))).state == "declined"
    assert rig.gateway.refund(replace(part, key="refund-5", amount=Money(1400, "GBP"))).state == "succeeded"
    assert rig.gateway.refund(replace(part, key="refund-6", charge_key="never", amount=Money(1, "GBP"))).error_code
    assert sum(amount.minor for kind, _, amount in rig.movements() if kind == "refund") == 5400


def test_a_hosted_page_charges_once_and_saves_the_method(rig):
    request, reference = page_of(rig)
    assert rig.gateway.collect(request).reference == reference
    waiting = rig.gateway.look_up(request.key)
    assert waiting.state == "requires_action" and waiting.redirect_url == rig.gateway.collect(request).url
    assert rig.fill_in(reference, typed("poor")).error_code == "INSUFFICIENT_FUNDS"
    assert rig.gateway.look_up(request.key).state == "requires_action"
    assert rig.fill_in(reference, typed()).state == "succeeded" == rig.fill_in(reference, typed()).state
    paid = rig.gateway.look_up(request.key)
    assert paid.amount == request.amount and (paid.method.brand, paid.method.country) == ("visa", "GB")
    later = replace(charge_of(rig), method_reference=paid.method.reference)
    assert rig.gateway.charge(later).state == "succeeded" and len(rig.movements()) == 2


@pytest.mark.parametrize(("approved", "state"), [(True, "succeeded"), (False, "declined")])
def test_a_saved_method_can_ask_for_a_confirmation(rig, approved, state):
    asked = rig.gateway.charge(charge_of(rig, kind="challenge", off_session=False))
    assert asked.state == "requires_action" and asked.redirect_url.endswith(asked.reference) and asked.challenged
    rig.answer_bank(asked.reference, approved)
    assert rig.gateway.look_up("charge-1").state == state


@pytest.mark.parametrize(("approved", "state"), [(True, "succeeded"), (False, "requires_action")])
def test_a_hosted_page_can_ask_for_a_confirmation(rig, approved, state):
    """The method is saved and charged only after the bank's confirmation. After a refusal another card can be tried."""
    request, reference = page_of(rig)
    asked = rig.fill_in(reference, typed("challenge"))
    waiting = rig.gateway.look_up(request.key)
    assert waiting.state == "requires_action" and waiting.challenged and waiting.method is None and rig.movements() == []
    rig.answer_bank(asked.challenge, approved)
    assert rig.gateway.look_up(request.key).state == state
    if not approved:
        assert rig.fill_in(reference, typed()).state == "succeeded"
    rig.answer_bank(asked.challenge, not approved)  # a second answer changes nothing
    assert rig.gateway.look_up(request.key).state == "succeeded" and len(rig.movements()) == 1


def test_a_challenge_that_was_cancelled_cannot_be_answered(rig):
    asked = rig.gateway.charge(charge_of(rig, kind="challenge", off_session=False))
    assert rig.gateway.cancel("charge-1").state == "cancelled"
    rig.answer_bank(asked.reference, True)
    assert rig.gateway.look_up("charge-1").state == "cancelled" and rig.movements() == []


def test_an_expired_card_is_declined(rig):
    soon = clock.now() + timedelta(days=40)
    method = rig.method(expires=(soon.month, soon.year))
    assert rig.gateway.charge(replace(charge_of(rig), method_reference=method)).state == "succeeded"
    clock.turn(timedelta(days=75))
    answer = rig.gateway.charge(replace(charge_of(rig, "later"), method_reference=method))
    assert (answer.state, answer.error_code) == ("declined", "EXPIRED_CARD") and len(rig.movements()) == 1


def test_a_lost_refund_is_unknown_until_looked_up(rig):
    rig.gateway.charge(charge_of(rig, "paid"))
    request = RefundRequest("refund-1", "paid", "bus_acorn", Money(5400, "GBP"))
    rig.misbehave("next_refund", "lost")
    assert rig.gateway.refund(request).state == "unknown"
    assert rig.gateway.look_up("refund-1").state == "succeeded" == rig.gateway.refund(request).state
    assert rig.gateway.cancel("refund-1").state == "succeeded" and len(rig.movements()) == 2


def test_a_hosted_page_with_a_lost_answer_is_settled_by_look_up(rig):
    for name, kind in (("lost", "lost"), ("slow", "slow")):
        request, reference = page_of(rig, f"page-{name}")
        rig.fill_in(reference, typed(kind))
        assert rig.gateway.look_up(request.key).state == ("succeeded" if kind == "lost" else "processing")
    with time_machine.travel(wall() + timedelta(seconds=4)):
        assert rig.gateway.look_up("page-slow").state == "succeeded" and len(rig.movements()) == 2


def test_notifications_are_signed_hints(rig):
    rig.gateway.charge(charge_of(rig))
    assert rig.deliver() == 1 and rig.deliver() == 0
    headers, body = rig.heard[0]
    told = rig.gateway.read_notification({name.title(): value for name, value in headers.items()}, body)
    assert (told.key, told.kind) == ("charge-1", "charge")
    for forged in ((headers, body + b" "), ({}, body), (headers | {"sandbox-signature": "v1=é"}, body)):
        with pytest.raises(Unauthorized):
            rig.gateway.read_notification(*forged)
    with time_machine.travel(wall() + timedelta(minutes=6)), pytest.raises(Unauthorized):
        rig.gateway.read_notification(headers, body)


def test_an_unaccepted_notification_is_sent_again(rig):
    rig.gateway.charge(charge_of(rig))
    heard, rig.gateway.notify = rig.gateway.notify, lambda headers, body: 1 / 0
    assert rig.deliver() == 0
    rig.gateway.notify = heard
    assert rig.deliver() == 0
    with time_machine.travel(wall() + timedelta(seconds=6)):
        assert rig.deliver() == 1


def test_late_repeated_and_unordered_notifications_have_one_effect(rig):
    for name, value in (("delay", 60), ("repeat", 2), ("reorder", "yes")):
        rig.misbehave(name, value)
    rig.gateway.charge(charge_of(rig, "first"))
    rig.gateway.charge(charge_of(rig, "second"))
    assert rig.deliver() == 0
    with time_machine.travel(wall() + timedelta(seconds=61)):
        assert rig.deliver() == 4
        assert [rig.gateway.read_notification(*each).key for each in rig.heard] == ["second", "second", "first", "first"]


def test_no_card_number_is_ever_written(rig):
    for number, card in enumerate(TEST_CARDS):
        rig.gateway.save_method("cus_ada", card.grouped, 6, 2032, "Ada Marlow")
        _, reference = page_of(rig, f"page-{number}", 100 if number % 2 else None)
        rig.fill_in(reference, replace(typed(), number=card.number))
    with rig.gateway.store.read():  # an open connection keeps the WAL in place
        rig.gateway.charge(charge_of(rig))
        files = b"".join(file.read_bytes() for file in rig.file.parent.iterdir())
    assert (rig.file.parent / "sandbox.db").exists() and b"INSUFFICIENT_FUNDS" in files and b"4242" in files
    for card in TEST_CARDS:
        assert card.number.encode() not in files and card.grouped.encode() not in files
