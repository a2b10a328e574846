"""Run slow network calls in one lane per business, so that a server that does not answer delays only its own business.

    lanes = Lanes("app logouts", services.database, due=due, serve=serve)
    services.worker.lanes.append(lanes)

`due()` returns the keys (business ids) with due work, the longest waiting first. `serve(key, turn)` works on one key until
nothing is left or `turn.over`, and returns whether the other side answered. It runs outside transactions and must be
idempotent, because the work of a killed process stays due.

A process runs at most `slots` lanes at once, one thread each. A lease allows one lane per key in the whole deployment.
The key that was served longest ago comes first. A failed key pauses, longer after each failure, and keys that failed last
time share half of the slots.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError

from core.db import Database
from core.leases import release, take
from core.metrics.instruments import LANE_BUSY, LANE_FAILURES, LANE_SECONDS
from core.spans import span

log = structlog.get_logger()

LEASE = timedelta(seconds=120)
TURN = 20.0
"""Seconds of one turn of a lane. A turn plus the time limit of one call must be shorter than LEASE."""
RESTS = (2.0, 5.0, 15.0, 60.0)
"""Seconds of the pause after the first, second, … failure in a row."""

Due = Callable[[], Sequence[str]]
Serve = Callable[[str, "Turn"], bool]


@dataclass(frozen=True)
class Turn:
    """The end of a turn: `until` is a value of time.monotonic()."""

    until: float

    @property
    def over(self) -> bool:
        return time.monotonic() >= self.until


class Lanes:
    def __init__(
        self, name: str, database: Database, due: Due, serve: Serve, *, slots: int = 4, turn: float = TURN, poll: float = 1.0
    ) -> None:
        self.name, self.database, self._due, self._serve = name, database, due, serve
        self.slots, self.turn, self.poll = slots, turn, poll  # seconds
        self.holder = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._lock, self._wake, self._stop = threading.Lock(), threading.Event(), threading.Event()
        self._busy: set[str] = set()
        self._served: dict[str, float] = {}  # key → when its last turn ended
        self._failed: dict[str, tuple[int, float]] = {}  # key → (failures in a row, when it may be tried again)
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Check for new work now."""
        self._wake.set()

    def start(self) -> None:
        """Start to serve in daemon threads. Idempotent."""
        if self._thread is None or not self._thread.is_alive():
            self._stop.clear()
            self._thread = threading.Thread(target=self._run_forever, name=self.name, daemon=True)
            self._thread.start()

    def stop(self, wait: float = 0.0) -> None:
        """Begin no further turn. Running turns continue; wait for them for at most `wait` seconds."""
        self._stop.set()
        self.wake()
        until = time.monotonic() + wait
        while self._busy and time.monotonic() < until:
            time.sleep(0.01)

    def drain(self, rounds: int = 1000) -> int:
        """Serve all due keys now, also those that pause. Returns the number of turns. For tests and commands."""
        turns = 0
        self._failed.clear()  # a key that fails again pauses again, so the loop ends
        for _ in range(rounds):
            keys = self.claim()
            if not keys:
                break
            threads = [threading.Thread(target=self._take_turn, args=(key,), daemon=True) for key in keys]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            turns += len(keys)
        return turns

    def claim(self) -> list[str]:
        """Return the keys to serve now, each with a lease, at most as many as there are free slots."""
        now = time.monotonic()
        with self._lock:
            free = self.slots - len(self._busy)
            if free <= 0:
                return []
        waiting = [key for key in dict.fromkeys(self._due()) if key not in self._busy and self._failed.get(key, (0, 0.0))[1] <= now]
        waiting.sort(key=lambda key: self._served.get(key, 0.0))  # stable: the longest waiting stays first among equals
        retry_slots = max(1, self.slots // 2) - sum(key in self._failed for key in list(self._busy))
        claimed: list[str] = []
        for key in waiting:
            if len(claimed) == free:
                break
            if key in self._failed:
                if retry_slots <= 0:
                    continue
                retry_slots -= 1
            if take(self.database, self._lease(key), self.holder, LEASE):
                with self._lock:
                    self._busy.add(key)
                claimed.append(key)
        return claimed

    def _take_turn(self, key: str) -> None:
        answered, began = False, time.monotonic()
        LANE_BUSY.labels(self.name).inc()
        try:
            with span("lane", self.name):
                answered = self._serve(key, Turn(time.monotonic() + self.turn))
        except Exception:
            log.exception("lane failed", lanes=self.name, key=key)
        finally:
            LANE_BUSY.labels(self.name).dec()
            LANE_SECONDS.labels(self.name).observe(time.monotonic() - began)
            LANE_FAILURES.labels(self.name).inc(0 if answered else 1)
            with self._lock:
                self._served[key] = time.monotonic()
                if answered:
                    self._failed.pop(key, None)
                else:
                    count = self._failed.get(key, (0, 0.0))[0] + 1
                    self._failed[key] = (count, time.monotonic() + RESTS[min(count, len(RESTS)) - 1])
                self._forget()
            with suppress(SQLAlchemyError):  # the lease then expires
                release(self.database, self._lease(key), self.holder)
            with self._lock:
                self._busy.discard(key)
            self.wake()

    def _forget(self) -> None:
        """Drop the state of keys that were not served for an hour, to limit memory."""
        old = time.monotonic() - 3600
        for key in [key for key, at in self._served.items() if at < old]:
            del self._served[key]
            self._failed.pop(key, None)

    def _run_forever(self) -> None:
        while not self._stop.is_set():
            try:
                for key in self.claim():
                    threading.Thread(target=self._take_turn, args=(key,), name=f"{self.name}: {key}", daemon=True).start()
            except Exception:
                log.exception("claiming lanes failed", lanes=self.name)
            self._wake.wait(self.poll)
            self._wake.clear()

    def _lease(self, key: str) -> str:
        return f"{self.name}: {key}"
