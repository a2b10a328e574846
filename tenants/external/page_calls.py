"""Calls an external billing system from a page in a separate thread, so that a slow system does not block the request.

A request waits a few seconds at most. There is one call per business at a time, and a few per process. After a call without an
answer the business is not called for a while; requests then fail immediately with NoAnswerYet.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, TypeVar

from core import transaction_retry
from core.errors import Unavailable

Found = TypeVar("Found")

WAIT = 4.0  # seconds a request waits
SLOTS = 4  # concurrent calls per process
REST = 15.0  # seconds without calls after a missing answer

_thread = threading.local()


@contextmanager
def in_a_lane() -> Any:
    """Mark this thread as a lane of the worker, where no request waits: calls run in the thread itself."""
    _thread.is_lane = True
    try:
        yield
    finally:
        _thread.is_lane = False


class NoAnswerYet(Exception):
    """The call is still running. Its answer is processed when it arrives."""


class Silent(NoAnswerYet):
    """The system did not answer a moment ago and is not called for a while."""


class PageCalls:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._silent: dict[str, float] = {}  # business → when it may be called again

    def wait_for(self, business_id: str, work: Callable[[], Found], wait: float | None = None) -> Found:
        """Return the result of `work`. Raises what `work` raises, and NoAnswerYet."""
        if getattr(_thread, "is_lane", False):
            return work()
        with self._lock:
            if self._silent.get(business_id, 0.0) > time.monotonic():
                raise Silent
            if business_id in self._busy or len(self._busy) >= SLOTS:
                raise NoAnswerYet
            self._busy.add(business_id)
        transaction_retry.note_effect()  # for this thread: the new thread counts its own effects only
        result: list[Found] = []
        problem: list[BaseException] = []
        done = threading.Event()
        threading.Thread(
            target=self._run, args=(business_id, work, result, problem, done), name=f"external call of {business_id}", daemon=True
        ).start()
        if not done.wait(WAIT if wait is None else wait):
            raise NoAnswerYet
        if problem:
            raise problem[0]
        return result[0]

    def forgive(self, business_id: str) -> None:
        """Allow calls again, because the system answered elsewhere."""
        with self._lock:
            self._silent.pop(business_id, None)

    def _run(
        self, business_id: str, work: Callable[[], Found], result: list[Found], problem: list[BaseException], done: threading.Event
    ) -> None:
        try:
            result.append(work())
            self.forgive(business_id)
        except BaseException as error:
            problem.append(error)
            if isinstance(error, Unavailable):
                with self._lock:
                    now = time.monotonic()
                    self._silent = {item: until for item, until in self._silent.items() if until > now} | {business_id: now + REST}
        finally:
            with self._lock:
                self._busy.discard(business_id)
            done.set()
