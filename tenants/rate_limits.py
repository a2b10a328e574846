"""Rate limits of API keys. A process reserves calls in the database in batches and counts them in memory.

A call costs one dictionary lookup, and a twentieth of a minute's calls costs one write. All processes together never allow more than
the limit. Calls reserved by a process that ends are lost until the next minute.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

from auth.rate_limits import take
from core import clock
from core.db import Database

WINDOW = timedelta(minutes=1)


@dataclass(frozen=True)
class Allowance:
    """The values of the rate limit headers. `resets_in`: seconds. `remaining` below 0: the call exceeds the limit."""

    limit: int
    remaining: int
    resets_in: int


@dataclass
class _Batch:
    ends_at: datetime
    left: int
    unreserved: int  # calls that the database can still give


class Rates:
    """The rate limits of this process."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.batches: dict[str, _Batch] = {}
        self.lock = threading.Lock()

    def call(self, caller_key: str, limit: int) -> Allowance:
        """Count one call of `caller_key`, which may make `limit` calls per minute."""
        at, fresh = clock.wall(), None
        while True:
            with self.lock:
                batch = self._add(caller_key, fresh, at) if fresh else self.batches.get(caller_key)
                if batch is not None and batch.ends_at > at and (batch.left > 0 or batch.unreserved <= 0):
                    batch.left -= 1
                    remaining = max(batch.left + batch.unreserved, 0) if batch.left >= 0 else -1
                    return Allowance(limit, remaining, max(int((batch.ends_at - at).total_seconds()) + 1, 1))
            fresh = self._reserve(caller_key, limit)  # without the lock, so that other keys do not wait for the database

    def _add(self, caller_key: str, fresh: _Batch, at: datetime) -> _Batch:
        """Add a fresh batch to the one that another thread may have reserved in the same minute."""
        batch = self.batches.get(caller_key)
        if batch is None or batch.ends_at < fresh.ends_at:
            self._drop_expired(at)
            batch = self.batches[caller_key] = fresh
        elif batch.ends_at == fresh.ends_at:
            batch.left, batch.unreserved = max(batch.left, 0) + fresh.left, min(batch.unreserved, fresh.unreserved)
        return batch

    def _reserve(self, caller_key: str, limit: int) -> _Batch:
        given, total, began = take(self.database, f"api:{caller_key}", max(limit // 20, 1), limit, WINDOW)
        return _Batch(began + WINDOW, given, max(limit - total, 0))

    def _drop_expired(self, at: datetime) -> None:
        if len(self.batches) > 10_000:
            self.batches = {caller_key: item for caller_key, item in self.batches.items() if item.ends_at > at}
