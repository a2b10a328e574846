"""The contract tests for implementations of billing.charging.ports.Gateway. Money moves once per key, whatever fails.

A rig creates a gateway, saves payment methods, fills in its page, answers the bank, and injects failures. The tests use only the port and
the rig. What a rig cannot show is declared in its `cannot`, with the reason, and counted by a test.

`make test-processors` runs the suite on further rigs: PORTAL_RIGS names them, such as `third-party,test-mode`.
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine

from billing.charging.ports import ChargeRequest, CollectRequest, CustomerRequest, Gateway, RefundRequest, Trace
from core import clock
from core.clock import wall
from core.errors import Conflict, Unauthorized
from core.money import Money
from gateways.sandbox import SandboxGateway, returns
from gateways.sandbox.cards import TEST_CARDS, CardForm
from tests.contract.stripe_rigs import StandInRig, TestModeRig, ThirdPartyRig
from tests.harness.stripe_standin import running

CARD = {"good": "4242424242424242", "poor": "4000000000009995", "old": "4000000000000069", "plain": "4000000000000002", "slow":
        "4000000000000077", "renewals fail": "4000000000000341", "challenge": "4000002500003155", "lost": "4000000000006975"}  # fmt: skip
BACK = "http://127.0.0.1:5000/back?payment_id=pay_1"


class SandboxRig:
    name = "dodo"
    window = timedelta(hours=24)
    cannot: dict[str, str] = {}

    def __init__(self, folder: Path):
        self.file = folder / "sandbox.db"
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.gateway = SandboxGateway(self.file, "http://127.0.0.1:5000", "secret", lambda *told: self.heard.append(told))

    def operation(self, name: str) -> str:
        return name

    def customer(self, customer_id: str = "cus_ada") -> str:
        return self.gateway.register(CustomerRequest(f"customer/{customer_id}", "bus_acorn", customer_id, "ada@marlow.example"))

    def trace(self, key: str, kind: Any = "charge", charge: Trace | None = None) -> Trace:
        return Trace(key, kind, customer_reference=self.customer(), charge=charge)

    def method(self, kind: str = "good", customer_id: str = "cus_ada", expires: tuple[int, int] = (6, 2032)) -> str:
        return self.gateway.save_method(customer_id, CARD[kind], *expires, "Ada Marlow").reference

    def fill_in(self, reference: str, kind: str = "good") -> Any:
        """Enter a card on the hosted page. Returns an object with `.state`, `.error_code`, `.challenge`."""
        return self.gateway.submit_page(reference, typed(kind))

    def answer_bank(self, reference: str, approved: bool) -> Any:
        return self.gateway.answer_challenge(reference, approved)

    def lose_answer(self, verb: str) -> None:
        """The answer to the next such call is lost after the call had its effect."""
        self.gateway.turn_knob(f"next_{verb}", "lost")

    def killed(self, verb: str, request: object, when: str) -> int:
        """Send the request in another process, which is killed `before` the effect or `after` it. Returns its exit status."""
        self.gateway.turn_knob(f"next_{verb}", f"crash_{when}")
        script = (
            "import sys; from pathlib import Path; from billing.charging.ports import *; from core.money import Money;"
            "from gateways.sandbox import SandboxGateway;"
            f"SandboxGateway(Path(sys.argv[1]), 'http://127.0.0.1:5000', 'secret').{verb}({request!r})"
        )
        run = [sys.executable, "-c", script, str(self.file)]
        return subprocess.run(run, cwd=Path(__file__).parents[2], capture_output=True, timeout=30).returncode

    @contextmanager
    def after_settling(self) -> Iterator[None]:
        """Slow charges have settled."""
        with time_machine.travel(wall() + timedelta(seconds=4)):
            yield

    @contextmanager
    def later(self, delta: timedelta) -> Iterator[None]:
        clock.turn(delta)
        yield

    def dashboard_refund(self, charge: str, minor: int) -> str:
        """Refund a charge in the processor's own dashboard. Returns the refund's reference."""
        return self.gateway.on_page(returns.refund, charge, minor)

    def fail_refund(self, reference: str) -> None:
        """The customer's bank returns the money of a refund that succeeded."""
        self.gateway.on_page(returns.fail_refund, reference)

    def dispute(self, charge: str) -> str:
        return self.gateway.on_page(returns.open_dispute, charge)

    def decide(self, dispute: str, won: bool) -> None:
        self.gateway.on_page(returns.decide_dispute, dispute, "dispute_won" if won else "dispute_lost")

    def misbehave(self, name: str, value: object) -> None:
        """`delay`, `repeat`, `reorder` of notifications."""
        self.gateway.turn_knob(name, value)

    def deliver(self) -> int:
        """Deliver due notifications to `heard`. Returns how many."""
        return self.gateway.deliver_due()

    def movements(self) -> list[tuple[str, str, Money]]:
        """Return the provider's ledger: (kind, key, amount) of every movement."""
        return self.gateway.movements()


RIGS = ["sandbox", "stripe"]
MORE_RIGS = {"third-party": ThirdPartyRig, "test-mode": TestModeRig}
CLASSES: dict[str, Any] = {"sandbox": SandboxRig, "stripe": StandInRig, **MORE_RIGS}


@pytest.fixture(params=[*RIGS, *filter(None, os.environ.get("PORTAL_RIGS", "").split(","))])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    kind = CLASSES[request.param]
    if reason := kind.cannot.get(request.function.__name__):
        pytest.skip(reason)
    if kind is not StandInRig:
        yield kind(tmp_path)
        return
    with running() as stand_in:
        yield StandInRig(tmp_path, stand_in)
        assert stand_in.mistakes == []


def test_skips_are_declared_for_tests_that_exist():
    tests = {name for name in globals() if name.startswith("test_")}
    assert len(tests) == 35
    assert {name: len(kind.cannot) for name, kind in CLASSES.items()} == {"sandbox": 0, "stripe": 3, "third-party": 18, "test-mode": 16}
    for kind in CLASSES.values():
        assert set(kind.cannot) <= tests and all(kind.cannot.values())


def test_the_table_in_the_documentation_is_what_runs():
    """docs/processors.md: one row per test, one column per rig, `yes` or `skip`. Stripe's test mode was never run: `not run`."""
    page = (Path(__file__).parents[2] / "docs/processors.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if re.match(r"\| .* \| `test_", line)]
    on_rigs = {name for name, test in globals().items() if name.startswith("test_") and "rig" in inspect.signature(test).parameters}
    shown = {row[-1].strip("`"): row[1:-1] for row in rows if row[-1].strip("`") in on_rigs}
    word = {TestModeRig: "not run"}
    assert shown == {name: ["skip" if name in kind.cannot else word.get(kind, "yes") for kind in CLASSES.values()] for name in on_rigs}


def charge_of(rig: Any, key: str = "charge-1", kind: str = "good", minor: int = 5400, **more: Any) -> ChargeRequest:
    more = {"method_reference": more.get("method_reference") or rig.method(kind)} | more
    return ChargeRequest(rig.operation(key), "bus_acorn", "cus_ada", amount=Money(minor, "GBP"), description="Acorn Team",
                         customer_reference=rig.customer(), **more)  # fmt: skip


def refund_of(rig: Any, key: str = "refund-1", charge: str = "paid", minor: int = 5400) -> RefundRequest:
    return RefundRequest(rig.operation(key), rig.trace(charge), "bus_acorn", Money(minor, "GBP"))


def refund_trace(rig: Any, key: str = "refund-1", charge: str = "paid") -> Trace:
    return rig.trace(key, "refund", rig.trace(charge))


def page_of(rig: Any, key: str = "page-1", minor: int | None = 5400) -> tuple[CollectRequest, str, Trace]:
    amount = None if minor is None else Money(minor, "GBP")
    request = CollectRequest(rig.operation(key), "bus_acorn", "cus_ada", amount=amount, description="Acorn Team", return_url=BACK,
                             customer_reference=rig.customer(), currency="GBP")  # fmt: skip
    return request, rig.gateway.collect(request).reference, rig.trace(key, "collect")


def typed(kind: str = "good") -> CardForm:
    return CardForm(CARD[kind], "06/32", "123", "Ada Marlow", "GB", "N1 9GU")


def test_the_gateway_implements_the_port(rig):
    gateway: Gateway = rig.gateway
    assert gateway.name == rig.name and gateway.resend_window == rig.window


def test_a_customer_is_registered_once_per_key(rig):
    request = CustomerRequest(rig.operation("register"), "bus_acorn", "cus_ada", "ada@marlow.example", "Ada")
    first = rig.gateway.register(request)
    assert first == rig.gateway.register(replace(request, email="ada@new.example", name=None)) and first


def test_a_repeated_charge_has_one_effect_and_one_answer(rig):
    request = charge_of(rig)
    first = rig.gateway.charge(request)
    assert first == rig.gateway.charge(replace(request, description="other words")) == rig.gateway.look_up(rig.trace("charge-1"))
    assert first.state == "succeeded" and first.amount == request.amount and first.method.last4 == "4242"
    assert rig.gateway.look_up(replace(rig.trace("charge-1"), reference=first.reference)) == first
    assert rig.movements() == [("charge", "charge-1", request.amount)]


def test_a_key_with_another_request_is_refused(rig):
    request = charge_of(rig)
    rig.gateway.charge(request)
    for other in (replace(request, amount=Money(5401, "GBP")), replace(request, amount=Money(5400, "USD")),
                  replace(request, customer_id="cus_ben", customer_reference=rig.customer("cus_ben")),
                  replace(request, method_reference=rig.method())):  # fmt: skip
        with pytest.raises(Conflict):
            rig.gateway.charge(other)
    with pytest.raises(Conflict):
        rig.gateway.refund(RefundRequest(request.key, rig.trace("charge-1"), "bus_acorn", request.amount))
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


@pytest.mark.parametrize(("when", "state"), [("before", "not_found"), ("after", "succeeded")])
@pytest.mark.parametrize("verb", ["charge", "refund"])
def test_a_killed_process_moves_money_at_most_once(rig, verb, when, state):
    rig.gateway.charge(charge_of(rig, "paid"))
    request = charge_of(rig) if verb == "charge" else refund_of(rig)
    trace = rig.trace("charge-1") if verb == "charge" else refund_trace(rig)
    assert rig.killed(verb, request, when) == -9
    assert rig.gateway.look_up(trace).state == state
    after = getattr(rig.gateway, verb)(request)
    assert after.state == "succeeded" and rig.gateway.look_up(trace) == after
    assert [kind for kind, key, _ in rig.movements() if key == f"{verb}-1"] == [verb]


@pytest.mark.parametrize(
    ("kind", "code"), [("poor", "INSUFFICIENT_FUNDS"), ("plain", "GENERIC_DECLINE"), ("old", "EXPIRED_CARD"),
                       ("renewals fail", "GENERIC_DECLINE"), ("challenge", "AUTHENTICATION_REQUIRED")]
)  # fmt: skip
def test_a_decline_is_final_and_has_a_reason(rig, kind, code):
    request = charge_of(rig, kind=kind)
    answer = rig.gateway.charge(request)
    assert (answer.state, answer.error_code, answer.amount) == ("declined", code, None) and answer.error_message
    assert rig.gateway.cancel(rig.trace("charge-1")) == answer == rig.gateway.look_up(rig.trace("charge-1")) == rig.gateway.charge(request)


def test_somebody_elses_method_cannot_be_charged(rig):
    request = charge_of(rig, method_reference=rig.method(customer_id="cus_ben"))
    assert rig.gateway.charge(request).error_code == "MANDATE_INVALID"
    assert rig.movements() == []


def test_a_forgotten_method_cannot_be_charged(rig):
    request = charge_of(rig)
    for _ in range(2):
        rig.gateway.forget(request.method_reference)
    answer = rig.gateway.charge(request)
    assert (answer.state, answer.error_code) == ("declined", "MANDATE_INVALID") and rig.movements() == []


def test_a_lost_answer_is_unknown_until_looked_up(rig):
    request = charge_of(rig)
    rig.lose_answer("charge")
    assert rig.gateway.charge(request).state == "unknown"
    assert rig.gateway.look_up(rig.trace("charge-1")).state == "succeeded" == rig.gateway.charge(request).state
    assert len(rig.movements()) == 1


def test_a_slow_charge_is_processing_and_then_settles(rig):
    assert rig.gateway.charge(charge_of(rig, kind="slow")).state == "processing" == rig.gateway.look_up(rig.trace("charge-1")).state
    with rig.after_settling():
        assert rig.gateway.look_up(rig.trace("charge-1")).state == "succeeded"


def test_an_unknown_key_is_answered_with_not_found(rig):
    rig.gateway.charge(charge_of(rig, "paid"))
    assert rig.gateway.look_up(rig.trace("never")).state == "not_found"
    assert rig.gateway.look_up(refund_trace(rig, "never")).state == "not_found"


def test_a_charge_cancelled_first_never_happens(rig):
    request = charge_of(rig)
    assert rig.gateway.cancel(rig.trace("charge-1")).state == "cancelled" == rig.gateway.look_up(rig.trace("charge-1")).state
    assert rig.gateway.charge(request).state == "cancelled" == rig.gateway.charge(request).state
    try:
        other = rig.gateway.charge(replace(request, amount=Money(5401, "GBP"))).state
    except Conflict:
        other = "refused"
    assert other in ("refused", "cancelled") and rig.movements() == []


def test_a_refund_cancelled_first_never_happens(rig):
    rig.gateway.charge(charge_of(rig, "paid"))
    assert rig.gateway.cancel(refund_trace(rig)).state == "cancelled" == rig.gateway.look_up(refund_trace(rig)).state
    assert rig.gateway.refund(refund_of(rig)).state == "cancelled"
    assert [kind for kind, *_ in rig.movements()] == ["charge"]


def test_cancel_stops_open_charges_only(rig):
    rig.gateway.charge(charge_of(rig, "done"))
    assert rig.gateway.cancel(rig.trace("done")).state == "succeeded"
    request = charge_of(rig, "lost")
    assert rig.gateway.cancel(rig.trace("lost")).state == "cancelled" == rig.gateway.cancel(rig.trace("lost")).state
    assert rig.gateway.charge(request).state == "cancelled"
    assert [key for _, key, _ in rig.movements()] == ["done"]


def test_cancel_closes_a_page(rig):
    _, reference, trace = page_of(rig)
    assert rig.gateway.cancel(trace).state == "cancelled" == rig.gateway.look_up(trace).state
    assert rig.fill_in(reference).state == "cancelled" and rig.movements() == []


def test_refunds_never_exceed_the_charge(rig):
    rig.gateway.charge(charge_of(rig, "paid"))
    part = refund_of(rig, minor=4000)
    assert rig.gateway.refund(part) == rig.gateway.refund(part) == rig.gateway.look_up(refund_trace(rig))
    assert rig.gateway.refund(replace(part, key=rig.operation("refund-2"))).state == "declined"
    assert rig.gateway.refund(replace(part, key=rig.operation("refund-3"), amount=Money(1400, "USD"))).state == "declined"
    other = replace(part, key=rig.operation("refund-4"), business_id="bus_birch", amount=Money(1, "GBP"))
    assert rig.gateway.refund(other).state == "declined"
    assert rig.gateway.refund(replace(part, key=rig.operation("refund-5"), amount=Money(1400, "GBP"))).state == "succeeded"
    assert rig.gateway.refund(replace(part, key=rig.operation("refund-6"), charge=rig.trace("never"), amount=Money(1, "GBP"))).error_code
    assert sum(amount.minor for kind, _, amount in rig.movements() if kind == "refund") == 5400


def test_a_refund_made_in_the_dashboard_is_reported(rig):
    paid = rig.gateway.charge(charge_of(rig, "paid"))
    ours = rig.gateway.refund(refund_of(rig, minor=1000))
    theirs = rig.dashboard_refund(paid.reference, 400)
    for reference, key, minor in ((ours.reference, rig.operation("refund-1"), 1000), (theirs, "", 400)):
        report = rig.gateway.look_up_refund(reference)
        assert (report.reference, report.key, report.state, report.amount) == (reference, key, "succeeded", Money(minor, "GBP"))
        assert (report.charge_key, report.charge_reference) == (rig.operation("paid"), paid.reference)
    trace = replace(refund_trace(rig, "never-sent"), reference=theirs)
    assert rig.gateway.look_up(trace).state == "succeeded" and rig.gateway.look_up(trace).amount == Money(400, "GBP")
    assert rig.gateway.look_up_refund("re_never") is None


def test_a_refund_can_fail_after_it_succeeded(rig):
    rig.gateway.charge(charge_of(rig, "paid"))
    made = rig.gateway.refund(refund_of(rig, minor=5400))
    rig.fail_refund(made.reference)
    trace = replace(refund_trace(rig), reference=made.reference)
    found = rig.gateway.look_up(trace)
    assert (found.state, found.reference, found.amount) == ("declined", made.reference, None)
    assert rig.gateway.look_up_refund(made.reference).state == "declined"
    assert rig.gateway.refund(refund_of(rig, "refund-2", minor=5400)).state == "succeeded"


@pytest.mark.parametrize(("won", "status"), [(True, "dispute_won"), (False, "dispute_lost")])
def test_a_dispute_is_reported_until_it_is_decided(rig, won, status):
    paid = rig.gateway.charge(charge_of(rig, "paid"))
    reference = rig.dispute(paid.reference)
    report = rig.gateway.look_up_dispute(reference)
    assert (report.reference, report.status, report.stage) == (reference, "dispute_opened", "dispute")
    assert (report.amount, report.charge_key, report.charge_reference) == (paid.amount, rig.operation("paid"), paid.reference)
    assert report.reason == "fraudulent" and report.answer_by > wall() and reference in report.url or paid.reference in report.url
    assert rig.gateway.refund(refund_of(rig, minor=100)).state == "declined"
    rig.decide(reference, won)
    assert rig.gateway.look_up_dispute(reference).status == status
    assert rig.gateway.refund(refund_of(rig, "refund-2", minor=100)).state == ("succeeded" if won else "declined")
    assert rig.gateway.look_up_dispute("du_never") is None


def test_a_hosted_page_charges_once_and_saves_the_method(rig):
    request, reference, trace = page_of(rig)
    page = rig.gateway.collect(request)
    assert page.reference == reference == rig.gateway.collect(replace(request, description="other words")).reference
    waiting = rig.gateway.look_up(trace)
    assert waiting.state == "requires_action" and waiting.redirect_url == page.url
    assert rig.fill_in(reference, "poor").error_code == "INSUFFICIENT_FUNDS"
    assert rig.gateway.look_up(trace).state == "requires_action"
    assert rig.fill_in(reference).state == "succeeded" == rig.fill_in(reference).state
    paid = rig.gateway.look_up(trace)
    assert paid.amount == request.amount and paid.method.brand == "visa" and len(paid.method.country) == 2
    assert rig.gateway.look_up(replace(trace, reference=reference)) == paid == rig.gateway.look_up(replace(trace, reference=paid.reference))
    assert rig.gateway.charge(charge_of(rig, method_reference=paid.method.reference)).state == "succeeded" and len(rig.movements()) == 2
    refund = RefundRequest(rig.operation("refund-1"), trace, "bus_acorn", Money(5400, "GBP"))
    assert rig.gateway.refund(refund).state == "succeeded" and len(rig.movements()) == 3
    with pytest.raises(Conflict):
        rig.gateway.collect(replace(request, amount=Money(5401, "GBP")))


def test_a_hosted_page_without_an_amount_saves_the_method(rig):
    _, reference, trace = page_of(rig, minor=None)
    assert rig.fill_in(reference).state == "succeeded" and rig.movements() == []
    saved = rig.gateway.look_up(trace)
    assert saved.state == "succeeded" and not saved.amount and saved.method.last4 == "4242"
    assert rig.gateway.charge(charge_of(rig, method_reference=saved.method.reference)).state == "succeeded"


@pytest.mark.parametrize(("approved", "state"), [(True, "succeeded"), (False, "declined")])
def test_a_saved_method_can_ask_for_a_confirmation(rig, approved, state):
    asked = rig.gateway.charge(charge_of(rig, kind="challenge", off_session=False, return_url=BACK))
    assert asked.state == "requires_action" and asked.redirect_url.endswith(asked.reference) and asked.challenged
    rig.answer_bank(asked.reference, approved)
    assert rig.gateway.look_up(rig.trace("charge-1")).state == state == rig.gateway.look_up(rig.trace("charge-1")).state


@pytest.mark.parametrize(("approved", "state"), [(True, "succeeded"), (False, "requires_action")])
def test_a_hosted_page_can_ask_for_a_confirmation(rig, approved, state):
    """The method is saved and charged only after the bank's confirmation. After a refusal another card can be tried."""
    _, reference, trace = page_of(rig)
    asked = rig.fill_in(reference, "challenge")
    waiting = rig.gateway.look_up(trace)
    assert waiting.state == "requires_action" and waiting.challenged and waiting.method is None and rig.movements() == []
    rig.answer_bank(asked.challenge, approved)
    assert rig.gateway.look_up(trace).state == state
    if not approved:
        assert rig.fill_in(reference).state == "succeeded"
    rig.answer_bank(asked.challenge, not approved)  # a second answer changes nothing
    assert rig.gateway.look_up(trace).state == "succeeded" and len(rig.movements()) == 1


def test_a_challenge_that_was_cancelled_cannot_be_answered(rig):
    asked = rig.gateway.charge(charge_of(rig, kind="challenge", off_session=False, return_url=BACK))
    assert rig.gateway.cancel(rig.trace("charge-1")).state == "cancelled"
    rig.answer_bank(asked.reference, True)
    assert rig.gateway.look_up(rig.trace("charge-1")).state == "cancelled" and rig.movements() == []


def test_an_expired_card_is_declined(rig):
    soon = clock.now() + timedelta(days=40)
    method = rig.method(expires=(soon.month, soon.year))
    assert rig.gateway.charge(charge_of(rig, method_reference=method)).state == "succeeded"
    with rig.later(timedelta(days=75)):
        answer = rig.gateway.charge(charge_of(rig, "later", method_reference=method))
        assert (answer.state, answer.error_code) == ("declined", "EXPIRED_CARD") and len(rig.movements()) == 1


def test_a_lost_refund_is_unknown_until_looked_up(rig):
    rig.gateway.charge(charge_of(rig, "paid"))
    rig.lose_answer("refund")
    assert rig.gateway.refund(refund_of(rig)).state == "unknown"
    assert rig.gateway.look_up(refund_trace(rig)).state == "succeeded" == rig.gateway.refund(refund_of(rig)).state
    assert rig.gateway.cancel(refund_trace(rig)).state == "succeeded" and len(rig.movements()) == 2


def test_a_hosted_page_can_wait_for_the_bank(rig):
    _, reference, trace = page_of(rig)
    rig.fill_in(reference, "slow")
    assert rig.gateway.look_up(trace).state == "processing" and rig.movements() == []
    with rig.after_settling():
        assert rig.gateway.look_up(trace).state == "succeeded" and len(rig.movements()) == 1


def test_a_hosted_page_with_a_lost_answer_is_settled_by_look_up(rig):
    _, reference, trace = page_of(rig)
    rig.fill_in(reference, "lost")
    assert rig.gateway.look_up(trace).state == "succeeded" and len(rig.movements()) == 1


def test_notifications_are_signed_hints(rig):
    rig.gateway.charge(charge_of(rig))
    assert rig.deliver() > 0 and rig.deliver() == 0
    told = [rig.gateway.read_notification({name.title(): value for name, value in headers.items()}, body) for headers, body in rig.heard]
    assert {hint.id for hint in told if (hint.noun, hint.key) == ("charge", rig.operation("charge-1"))}
    headers, body = rig.heard[-1]
    name = next(name for name in headers if "signature" in name.lower())
    for forged in ((headers, body + b" "), ({}, body), (headers | {name: "v1=é"}, body)):
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
        _, reference, _ = page_of(rig, f"page-{number}", 100 if number % 2 else None)
        rig.gateway.submit_page(reference, replace(typed(), number=card.number))
    with rig.gateway.store.read():  # an open connection keeps the WAL in place
        rig.gateway.charge(charge_of(rig))
        files = b"".join(file.read_bytes() for file in rig.file.parent.iterdir())
    assert (rig.file.parent / "sandbox.db").exists() and b"INSUFFICIENT_FUNDS" in files and b"4242" in files
    for card in TEST_CARDS:
        assert card.number.encode() not in files and card.grouped.encode() not in files
