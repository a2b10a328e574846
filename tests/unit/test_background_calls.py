"""Calls to other servers: a request waits briefly, few requests wait, and a running call is not started twice."""

from __future__ import annotations

import threading
import time

import pytest

from auth.oidc_client import discovery
from auth.oidc_client.discovery import Discovery
from auth.oidc_client.errors import ProviderError
from core.background_calls import IN_ALL, PER_KEY, WAITING, BackgroundCalls, Busy, Pending
from core.outgoing import Outgoing
from core.settings import Settings
from tests.silent_servers import hanging


def test_an_answer_is_returned_and_a_failure_raised() -> None:
    background_calls = BackgroundCalls()
    assert background_calls.wait_for("acorn", "a", lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        background_calls.wait_for("acorn", "b", lambda: 1 // 0)
    assert background_calls.wait_for("acorn", "b", lambda: 8) == 8, "a new one: the failure was handed out"


def test_a_running_call_is_shared_and_its_answer_cached() -> None:
    background_calls, calls, go = BackgroundCalls(), [], threading.Event()

    def slow() -> int:
        calls.append(1)
        go.wait(10)
        return 7

    for _ in range(3):
        with pytest.raises(Pending):
            background_calls.wait_for("acorn", "a", slow, patience=0.05)
    go.set()
    until = time.monotonic() + 5
    while background_calls.running and time.monotonic() < until:
        time.sleep(0.01)
    assert background_calls.wait_for("acorn", "a", slow) == 7 and len(calls) == 1


def test_the_number_of_waiting_requests_is_limited() -> None:
    background_calls, go = BackgroundCalls(), threading.Event()
    waits: list[float] = []

    def ask(key: str, what: str) -> None:
        began = time.monotonic()
        with pytest.raises((Pending, Busy)):
            background_calls.wait_for(key, what, lambda: go.wait(20), patience=1.0)
        waits.append(time.monotonic() - began)

    threads = [threading.Thread(target=ask, args=(f"business {n % 5}", f"errand {n}")) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(wait > 0.9 for wait in waits) <= WAITING, "the others went on at once"
    for n in range(PER_KEY + 3):
        background_calls.start("one business", f"errand {n}", lambda: go.wait(20))
    with pytest.raises(Busy):
        background_calls.wait_for("one business", "one more", lambda: 1)
    for n in range(IN_ALL):
        background_calls.start(f"key {n}", "x", lambda: go.wait(20))
    assert background_calls.running == IN_ALL
    go.set()


def test_failures_of_an_issuer_are_cached_and_one_fetch_runs_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "TIMEOUT", 1.0)
    at = [0.0]
    with hanging() as server:
        item = Discovery(Outgoing(Settings(base_url="http://localhost", outgoing_loopback=True)), monotonic=lambda: at[0])

        def ask() -> str:
            with pytest.raises(ProviderError) as told:
                item.of(server.url)
            return told.value.code

        began, codes = time.monotonic(), []
        threads = [threading.Thread(target=lambda: codes.append(ask())) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - began < 3.0 and set(codes) <= {"waiting", "unreachable"}
        while item.background_calls.running:
            time.sleep(0.02)
        assert server.calls == 1, "twelve requests, one fetch"
        began = time.monotonic()
        assert [ask() for _ in range(20)] == ["unreachable"] * 20 and time.monotonic() - began < 0.5 and server.calls == 1
        at[0] += discovery.FAILED_FOR[0] + 1
        assert ask() in ("waiting", "unreachable") and server.calls == 2, "after a while it is tried again"
        assert [pytest.raises(ProviderError, item.of, server.url, False).value.code for _ in range(2)] and server.calls == 2


def test_a_cached_answer_is_used_while_it_is_refreshed() -> None:
    from joserfc.jwk import KeySet

    at = [0.0]
    with hanging() as server:
        item = Discovery(Outgoing(Settings(base_url="http://localhost", outgoing_loopback=True)), monotonic=lambda: at[0])
        item._known[server.url] = discovery.CachedMetadata({"authorization_endpoint": "x"}, KeySet([]), 0.0)
        at[0] = discovery.KEEP + 1
        began = time.monotonic()
        assert item.of(server.url)["authorization_endpoint"] == "x" and time.monotonic() - began < 0.5
        at[0] = discovery.STALE + 1
        with pytest.raises(ProviderError):
            item.of(server.url)
