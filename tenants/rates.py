"""How many calls a key may make. A process takes calls from the database by the handful and gives them out by itself.

So a call costs one look into a dictionary, and every twentieth part of a minute's calls one write. All processes
together never give out more than the limit; one that ends early takes what it had left with it, until the next minute.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

from auth.budgets import take
from core import clock
from core.db import Database

WINDOW = timedelta(minutes=1)


@dataclass(frozen=True)
class Allowance:
    """What the answer's headers say. `resets_in` seconds; `remaining` below 0: this call is one too many."""

    limit: int
    remaining: int
    resets_in: int


@dataclass
class _Handful:
    ends_at: datetime
    left: int
    elsewhere: int  # what the database still has to give


class Rates:
    """One per process."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.held: dict[str, _Handful] = {}
        self.lock = threading.Lock()

    def call(self, who: str, limit: int) -> Allowance:
        """Count one call of `who`, who may make `limit` a minute."""
        at = clock.wall()
        with self.lock:
            held = self.held.get(who)
            if held is None or held.ends_at <= at or (held.left <= 0 and held.elsewhere > 0):
                held = self.held[who] = self._take(who, limit, at)
                self._forget(at)
            held.left -= 1
            remaining = max(held.left + held.elsewhere, 0) if held.left >= 0 else -1
            return Allowance(limit, remaining, max(int((held.ends_at - at).total_seconds()) + 1, 1))

    def _take(self, who: str, limit: int, at: datetime) -> _Handful:
        given, total, began = take(self.database, f"api:{who}", max(limit // 20, 1), limit, WINDOW)
        return _Handful(began + WINDOW, given, max(limit - total, 0))

    def _forget(self, at: datetime) -> None:
        if len(self.held) > 10_000:
            self.held = {who: one for who, one in self.held.items() if one.ends_at > at}
