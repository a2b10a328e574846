"""Retry transactions after deadlocks and serialization failures, which the database has rolled back.

* `@retried` repeats a function that consists of one transaction and makes no external calls.
* A request is run again (core/request_retry.py) if it had no effects: no commit, and no call to a gateway or server.
  `effects` counts them.

The lock order is in docs/decisions/0011-one-lock-order.md. Retries handle the conflicts that the order cannot prevent.
"""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError

ATTEMPTS = 6
_STATES = frozenset({"40001", "40P01"})  # serialization_failure, deadlock_detected (PostgreSQL, appendix A)
_BUSY = ("SQLITE_BUSY", "SQLITE_BUSY_SNAPSHOT", "SQLITE_LOCKED")
_effects: ContextVar[int] = ContextVar("effects", default=0)
Given = ParamSpec("Given")
Result = TypeVar("Result")


def is_conflict(error: BaseException) -> bool:
    """Whether the database rolled this transaction back because of another one, so that a retry can succeed."""
    if not isinstance(error, DBAPIError) or error.orig is None:
        return False
    return getattr(error.orig, "sqlstate", None) in _STATES or getattr(error.orig, "sqlite_errorname", "") in _BUSY


def pause(attempt: int) -> None:
    """Wait a short random time, so that the same transactions do not conflict again."""
    time.sleep(random.uniform(0.005, 0.03) * 2**attempt)  # noqa: S311 - no secret


def retried(work: Callable[Given, Result]) -> Callable[Given, Result]:
    """Run `work` again after a conflict, up to ATTEMPTS times; then raise the error."""

    @functools.wraps(work)
    def run(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        for attempt in range(ATTEMPTS):
            before = _effects.get()
            try:
                return work(*args, **kwargs)
            except DBAPIError as error:
                if not is_conflict(error) or attempt == ATTEMPTS - 1 or _effects.get() != before:
                    raise
            pause(attempt)
        raise AssertionError("unreachable")

    return run


def note_effect() -> None:
    """Count an effect that cannot be undone: a commit, or an external call."""
    _effects.set(_effects.get() + 1)


def effects() -> int:
    return _effects.get()
