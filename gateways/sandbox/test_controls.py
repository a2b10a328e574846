"""Test controls that make the sandbox misbehave. They are stored in its database, so that they apply to every process.

delay         seconds every new notification waits                          (default 0)
repeat        how many times each notification is delivered                 (default 1)
reorder       `yes`: the newest notification goes first                     (default no)
settle_after  seconds a slow charge stays in progress                       (default 3)
working_days  a slow charge says that the bank needs so many working days    (default none)
next_charge   once: `lost`, `slow`, `crash_before`, `crash_after`; also on a hosted page
next_refund   once: `lost`, `crash_before`, `crash_after`
"""

from __future__ import annotations

import os
import signal
import sqlite3

DEFAULTS = {"delay": "0", "repeat": "1", "reorder": "no", "settle_after": "3", "working_days": "", "next_charge": "", "next_refund": ""}


def get(c: sqlite3.Connection, name: str) -> str:
    row = c.execute("SELECT value FROM knobs WHERE name = ?", (name,)).fetchone()
    return str(row["value"]) if row else DEFAULTS[name]


def turn(c: sqlite3.Connection, name: str, value: object) -> None:
    """Set a control; None restores its default. Raises KeyError for an unknown name."""
    DEFAULTS[name]
    if value is None:
        c.execute("DELETE FROM knobs WHERE name = ?", (name,))
    else:
        c.execute("INSERT OR REPLACE INTO knobs (name, value) VALUES (?, ?)", (name, str(value)))


def take(c: sqlite3.Connection, name: str) -> str:
    """Read a one-time control and reset it. Does not return for `crash_before`."""
    value = get(c, name)
    turn(c, name, None)
    if value == "crash_before":
        c.execute("COMMIT")  # commit the reset, otherwise the next attempt would crash as well
        crash()
    return value


def crash() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
