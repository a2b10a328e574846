"""Questions that a page has for another billing system: asked in threads of their own, so that a silent system holds no request.

A request waits for a few seconds at most. One question per business is under way at a time, a few in the whole process, and a
business whose system did not answer is not asked for a while: meanwhile whoever asks hears at once that there is no answer yet.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, TypeVar

from core import conflicts
from core.errors import Unavailable

Found = TypeVar("Found")

WAIT = 4.0  # seconds a request waits
SLOTS = 4  # questions at once
REST = 15.0  # seconds after no answer

_thread = threading.local()


@contextmanager
def in_a_lane() -> Any:
    """Of a thread that nobody waits for (a lane of the worker): it asks by itself."""
    _thread.is_lane = True
    try:
        yield
    finally:
        _thread.is_lane = False


class NoAnswerYet(Exception):
    """It is being asked. The answer is still acted on when it comes."""


class Silent(NoAnswerYet):
    """It did not answer a moment ago, and is left alone for a while."""


class Asking:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._silent: dict[str, float] = {}  # business → until when it is left alone

    def ask(self, business_id: str, work: Callable[[], Found], wait: float | None = None) -> Found:
        """What `work` returns or raises. Raises NoAnswerYet."""
        if getattr(_thread, "is_lane", False):
            return work()
        with self._lock:
            if self._silent.get(business_id, 0.0) > time.monotonic():
                raise Silent
            if business_id in self._busy or len(self._busy) >= SLOTS:
                raise NoAnswerYet
            self._busy.add(business_id)
        conflicts.note_effect()  # of who asks: the thread below counts for itself alone
        result: list[Found] = []
        problem: list[BaseException] = []
        done = threading.Event()
        threading.Thread(target=self._run, args=(business_id, work, result, problem, done), name=f"asking for {business_id}",
                         daemon=True).start()
        if not done.wait(WAIT if wait is None else wait):
            raise NoAnswerYet
        if problem:
            raise problem[0]
        return result[0]

    def forgive(self, business_id: str) -> None:
        """It answered somewhere else: it may be asked again."""
        with self._lock:
            self._silent.pop(business_id, None)

    def _run(
        self, business_id: str, work: Callable[[], Found], result: list[Found], problem: list[BaseException], done: threading.Event
    ) -> None:
        try:
            result.append(work())
            self.forgive(business_id)
        except BaseException as odd:
            problem.append(odd)
            if isinstance(odd, Unavailable):
                with self._lock:
                    now = time.monotonic()
                    self._silent = {one: until for one, until in self._silent.items() if until > now} | {business_id: now + REST}
        finally:
            with self._lock:
                self._busy.discard(business_id)
            done.set()
