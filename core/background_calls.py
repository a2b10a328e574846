"""Run calls to other servers in separate threads, so that a slow server does not occupy request threads.

    value = calls.wait_for(issuer, "discovery", fetch)      # raises Pending, Busy, or what `fetch` raised

A request waits at most PATIENCE seconds for the result, and at most WAITING requests of a process wait at once, one per key.
After that it raises Pending. A second request for a running call joins it. Results are kept for KEPT seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from core import transaction_retry

PATIENCE = 1.5  # seconds
WAITING = 2  # requests of this process that may wait at the same time
PER_KEY, IN_ALL = 6, 48  # calls that may run at the same time
KEPT = 30.0  # seconds that an unused result is kept
Result = TypeVar("Result")


class Pending(Exception):
    """The call is running and has no result yet."""


class Busy(Exception):
    """The call was not started, because too many are running, for this key or in total."""


@dataclass
class _BackgroundCall:
    key: str
    done: threading.Event = field(default_factory=threading.Event)
    result: Any = None
    problem: Exception | None = None
    ended_at: float = 0.0


class BackgroundCalls:
    """One per application."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: dict[tuple[str, str], _BackgroundCall] = {}
        self._waiting: list[str] = []
        self._inside = threading.local()

    def wait_for(self, key: str, what: str, call: Callable[[], Result], patience: float = PATIENCE) -> Result:
        """Return the result of `call`, once. Calls with the same `key` (whom they concern) share a limit."""
        started = self._begin(key, what, call)
        if not started.done.is_set():
            if getattr(self._inside, "yes", False):  # a call within a call: no request thread waits
                started.done.wait(60.0)
            else:
                with self._place(key) as granted:
                    if granted:
                        started.done.wait(patience)
        if not started.done.is_set():
            raise Pending()
        with self._lock:
            if self._all.get((key, what)) is started:
                del self._all[(key, what)]
        if started.problem is not None:
            raise started.problem
        result: Result = started.result
        return result

    def start(self, key: str, what: str, call: Callable[[], object]) -> None:
        """Start a call without waiting. Does nothing if too many are running."""
        try:
            self._begin(key, what, call)
        except Busy:
            return

    @property
    def running(self) -> int:
        with self._lock:
            return sum(not started.done.is_set() for started in self._all.values())

    def _begin(self, key: str, what: str, call: Callable[[], object]) -> _BackgroundCall:
        with self._lock:
            old = time.monotonic() - KEPT
            for name in [name for name, started in self._all.items() if started.done.is_set() and started.ended_at < old]:
                del self._all[name]
            found = self._all.get((key, what))
            if found is not None:
                return found
            running = [started.key for started in self._all.values() if not started.done.is_set()]
            if not getattr(self._inside, "yes", False) and (len(running) >= IN_ALL or running.count(key) >= PER_KEY):
                raise Busy()
            started = self._all[(key, what)] = _BackgroundCall(key)
        transaction_retry.note_effect()  # counted for the caller, because counts are per thread
        threading.Thread(target=self._run, args=(started, call), name=f"background call: {what}", daemon=True).start()
        return started

    def _run(self, started: _BackgroundCall, call: Callable[[], object]) -> None:
        self._inside.yes = True
        try:
            started.result = call()
        except Exception as problem:
            started.problem = problem
        finally:
            started.ended_at = time.monotonic()
            started.done.set()

    @contextmanager
    def _place(self, key: str) -> Any:
        with self._lock:
            granted = len(self._waiting) < WAITING and key not in self._waiting
            if granted:
                self._waiting.append(key)
        try:
            yield granted
        finally:
            if granted:
                with self._lock:
                    self._waiting.remove(key)
