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
        at, fresh = clock.wall(), None
        while True:
            with self.lock:
                held = self._hold(who, fresh, at) if fresh else self.held.get(who)
                if held is not None and held.ends_at > at and (held.left > 0 or held.elsewhere <= 0):
                    held.left -= 1
                    remaining = max(held.left + held.elsewhere, 0) if held.left >= 0 else -1
                    return Allowance(limit, remaining, max(int((held.ends_at - at).total_seconds()) + 1, 1))
            fresh = self._take(who, limit)  # with the lock open: one key's wait for the database is no other's

    def _hold(self, who: str, fresh: _Handful, at: datetime) -> _Handful:
        """Beside what another thread took meanwhile, where that is of the same minute."""
        held = self.held.get(who)
        if held is None or held.ends_at < fresh.ends_at:
            self._forget(at)
            held = self.held[who] = fresh
        elif held.ends_at == fresh.ends_at:
            held.left, held.elsewhere = max(held.left, 0) + fresh.left, min(held.elsewhere, fresh.elsewhere)
        return held

    def _take(self, who: str, limit: int) -> _Handful:
        given, total, began = take(self.database, f"api:{who}", max(limit // 20, 1), limit, WINDOW)
        return _Handful(began + WINDOW, given, max(limit - total, 0))

    def _forget(self, at: datetime) -> None:
        if len(self.held) > 10_000:
            self.held = {who: one for who, one in self.held.items() if one.ends_at > at}
