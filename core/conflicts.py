"""Transactions that meet: deadlocks and serialization failures are undone by the database, and repeated here, at the transaction's edge.

* `@retried` repeats a function whose whole work is one transaction of its own, and which asks nobody outside.
* A request whose own session met another one is run again as a whole (core/rerun.py), where nothing of it has left yet: it
  committed nothing, and asked no gateway and no server. `effects` counts that.

The order in which rows are locked is in docs/decisions/0011-one-lock-order.md; what is here is for what an order cannot rule out.
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
    """Whether the database undid this transaction because of another one: it may succeed when it is run again."""
    if not isinstance(error, DBAPIError) or error.orig is None:
        return False
    return getattr(error.orig, "sqlstate", None) in _STATES or getattr(error.orig, "sqlite_errorname", "") in _BUSY


def pause(attempt: int) -> None:
    """Wait a little, at random, so that those who met do not meet again."""
    time.sleep(random.uniform(0.005, 0.03) * 2**attempt)  # noqa: S311 - no secret


def retried(work: Callable[Given, Result]) -> Callable[Given, Result]:
    """`work` is run again when its transaction met another one, a few times; then the error is raised."""

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
    """Something that cannot be undone happened: a commit, or a call to somebody outside."""
    _effects.set(_effects.get() + 1)


def effects() -> int:
    return _effects.get()
