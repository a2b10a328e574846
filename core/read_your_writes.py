"""After a change, read from the primary for a while. The session cookie holds the time of the last change (wall clock)."""

from __future__ import annotations

from flask import session

from core import clock
from core.replica import STICK

_CHANGED = "wrote"


def note_change() -> None:
    """Record a change in the session cookie."""
    session[_CHANGED] = int(clock.wall().timestamp())


def changed_recently() -> bool:
    return clock.wall().timestamp() - float(session.get(_CHANGED, 0)) < STICK
