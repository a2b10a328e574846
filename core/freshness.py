"""Who changed something a moment ago reads from the primary: the browser's signed cookie remembers when, by the wall clock."""

from __future__ import annotations

from flask import session

from core import clock
from core.replica import STICK

_CHANGED = "wrote"


def note_change() -> None:
    """This browser has just changed something."""
    session[_CHANGED] = int(clock.wall().timestamp())


def changed_recently() -> bool:
    return clock.wall().timestamp() - session.get(_CHANGED, 0) < STICK
