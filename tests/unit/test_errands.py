"""Calls to other people's servers: a request waits for a moment, few requests wait at all, and what runs is not started twice."""

from __future__ import annotations

import threading
import time

import pytest

from auth.providers import discovery
from auth.providers.discovery import Discovery
from auth.providers.mistakes import Mistake
from core.errands import IN_ALL, PER_KEY, WAITING, Busy, Errands, Pending
from core.outgoing import Outgoing
from core.settings import Settings
from tests.hanging import hanging


def test_an_answer_is_handed_out_and_a_failure_is_raised() -> None:
    errands = Errands()
    assert errands.ask("acorn", "a", lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        errands.ask("acorn", "b", lambda: 1 // 0)
    assert errands.ask("acorn", "b", lambda: 8) == 8, "a new one: the failure was handed out"


def test_what_runs_is_joined_and_its_answer_kept_for_who_asks_next() -> None:
    errands, calls, go = Errands(), [], threading.Event()

    def slow() -> int:
        calls.append(1)
        go.wait(10)
        return 7

    for _ in range(3):
        with pytest.raises(Pending):
            errands.ask("acorn", "a", slow, patience=0.05)
    go.set()
    until = time.monotonic() + 5
    while errands.running and time.monotonic() < until:
        time.sleep(0.01)
    assert errands.ask("acorn", "a", slow) == 7 and len(calls) == 1


def test_few_requests_wait_and_limits_hold() -> None:
    errands, go = Errands(), threading.Event()
    waits: list[float] = []

    def ask(key: str, what: str) -> None:
        began = time.monotonic()
        with pytest.raises((Pending, Busy)):
            errands.ask(key, what, lambda: go.wait(20), patience=1.0)
        waits.append(time.monotonic() - began)

    threads = [threading.Thread(target=ask, args=(f"business {n % 5}", f"errand {n}")) for n in range(20)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sum(wait > 0.9 for wait in waits) <= WAITING, "the others went on at once"
    for n in range(PER_KEY + 3):
        errands.start("one business", f"errand {n}", lambda: go.wait(20))
    with pytest.raises(Busy):
        errands.ask("one business", "one more", lambda: 1)
    for n in range(IN_ALL):
        errands.start(f"key {n}", "x", lambda: go.wait(20))
    assert errands.running == IN_ALL
    go.set()


def test_failures_of_an_issuer_are_cached_and_one_fetch_runs_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "TIMEOUT", 1.0)
    at = [0.0]
    with hanging() as server:
        one = Discovery(Outgoing(Settings(base_url="http://localhost", outgoing_loopback=True)), monotonic=lambda: at[0])

        def ask() -> str:
            with pytest.raises(Mistake) as told:
                one.of(server.url)
            return told.value.code

        began, codes = time.monotonic(), []
        threads = [threading.Thread(target=lambda: codes.append(ask())) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - began < 3.0 and set(codes) <= {"waiting", "unreachable"}
        while one.errands.running:
            time.sleep(0.02)
        assert server.calls == 1, "twelve requests, one fetch"
        began = time.monotonic()
        assert [ask() for _ in range(20)] == ["unreachable"] * 20 and time.monotonic() - began < 0.5 and server.calls == 1
        at[0] += discovery.FAILED_FOR[0] + 1
        assert ask() in ("waiting", "unreachable") and server.calls == 2, "after a while it is tried again"
        assert [pytest.raises(Mistake, one.of, server.url, False).value.code for _ in range(2)] and server.calls == 2


def test_what_is_known_stays_in_use_while_it_is_fetched_anew() -> None:
    from joserfc.jwk import KeySet

    at = [0.0]
    with hanging() as server:
        one = Discovery(Outgoing(Settings(base_url="http://localhost", outgoing_loopback=True)), monotonic=lambda: at[0])
        one._known[server.url] = discovery.Known({"authorization_endpoint": "x"}, KeySet([]), 0.0)
        at[0] = discovery.KEEP + 1
        began = time.monotonic()
        assert one.of(server.url)["authorization_endpoint"] == "x" and time.monotonic() - began < 0.5
        at[0] = discovery.STALE + 1
        with pytest.raises(Mistake):
            one.of(server.url)
