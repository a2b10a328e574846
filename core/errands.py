"""Calls that a request has to start and that somebody else's server answers: they run in threads of their own, never in the request's.

    value = errands.ask(issuer, "discovery", fetch)      # raises Pending, Busy, or what `fetch` raised

The request waits for the answer, but at most PATIENCE seconds, and at most WAITING requests of a process wait at all (one per
key): a server that never answers holds one request thread for a moment. What is not there yet raises Pending, and the page
says so. An errand that is asked for again while it runs is the same one; its answer is kept for a while for whoever asks next.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from core import conflicts

PATIENCE = 1.5  # seconds
WAITING = 2  # requests of this process that wait at the same time
PER_KEY, IN_ALL = 6, 48  # errands that run at the same time
KEPT = 30.0  # seconds an answer is kept that nobody fetched
Result = TypeVar("Result")


class Pending(Exception):
    """It runs, and has no answer yet."""


class Busy(Exception):
    """Too much runs already, for this key or in all: it was not started."""


@dataclass
class _Errand:
    key: str
    done: threading.Event = field(default_factory=threading.Event)
    result: Any = None
    problem: Exception | None = None
    ended_at: float = 0.0


class Errands:
    """One per application."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: dict[tuple[str, str], _Errand] = {}
        self._waiting: list[str] = []
        self._inside = threading.local()

    def ask(self, key: str, what: str, call: Callable[[], Result], patience: float = PATIENCE) -> Result:
        """The answer of `call`. `key` is whom it concerns: their errands share a limit. An answer is handed out once."""
        one = self._begin(key, what, call)
        if not one.done.is_set():
            if getattr(self._inside, "yes", False):  # an errand that needs another one: no request waits
                one.done.wait(60.0)
            else:
                with self._place(key) as granted:
                    if granted:
                        one.done.wait(patience)
        if not one.done.is_set():
            raise Pending()
        with self._lock:
            if self._all.get((key, what)) is one:
                del self._all[(key, what)]
        if one.problem is not None:
            raise one.problem
        result: Result = one.result
        return result

    def start(self, key: str, what: str, call: Callable[[], object]) -> None:
        """Begin, and wait for nothing. Too busy: not begun."""
        try:
            self._begin(key, what, call)
        except Busy:
            return

    @property
    def running(self) -> int:
        with self._lock:
            return sum(not one.done.is_set() for one in self._all.values())

    def _begin(self, key: str, what: str, call: Callable[[], object]) -> _Errand:
        with self._lock:
            old = time.monotonic() - KEPT
            for name in [name for name, one in self._all.items() if one.done.is_set() and one.ended_at < old]:
                del self._all[name]
            found = self._all.get((key, what))
            if found is not None:
                return found
            running = [one.key for one in self._all.values() if not one.done.is_set()]
            if not getattr(self._inside, "yes", False) and (len(running) >= IN_ALL or running.count(key) >= PER_KEY):
                raise Busy()
            one = self._all[(key, what)] = _Errand(key)
        conflicts.note_effect()  # of who asks: the thread below counts for itself alone
        threading.Thread(target=self._run, args=(one, call), name=f"errand: {what}", daemon=True).start()
        return one

    def _run(self, one: _Errand, call: Callable[[], object]) -> None:
        self._inside.yes = True
        try:
            one.result = call()
        except Exception as problem:
            one.problem = problem
        finally:
            one.ended_at = time.monotonic()
            one.done.set()

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
