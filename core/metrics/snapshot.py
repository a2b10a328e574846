"""Metrics from the database, read at most every FRESH seconds. A scrape waits at most PATIENCE seconds for them.

    services.metrics.add("renewals", read)                # read(session) yields metric families
    services.metrics.add_queue("app logouts", waiting)    # waiting(session) returns (number due, due date of the oldest)

Every process of a deployment gives the same numbers, so alert rules use their maximum. During a database outage a scrape
gets only `portal_database_up 0`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import structlog
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from sqlalchemy import func, select

from core import clock
from core.db import Database, ScopedSession
from core.guard import raw_sql
from core.scope import everything

log = structlog.get_logger()

FRESH = 10.0  # seconds that the metrics are cached
PATIENCE = 3.0  # seconds that a scrape waits for the database
STATEMENT_TIMEOUT = 2000  # milliseconds
COUNTED = 100_000  # rows; larger numbers are not counted

Read = Callable[[ScopedSession], Iterable[Metric]]
Due = tuple[int, datetime | None]
"""(number due, due date of the oldest)"""
Waiting = Callable[[ScopedSession], Due]
AllWaiting = Callable[[ScopedSession], dict[str, Due]]


def gauge(name: str, documentation: str, values: Mapping[Any, float], *labels: str) -> Metric:
    """Return a gauge with one sample per key of `values`: a label value, a tuple of them, or () without labels."""
    family = GaugeMetricFamily(name, documentation, labels=labels)
    for key, value in values.items():
        family.add_metric([key] if isinstance(key, str) else list(key), value)
    return family


def count_due(db: ScopedSession, at: Any, *where: Any) -> Due:
    """Return (number of rows, smallest `at`), for at most COUNTED rows."""
    some = select(at.label("at")).where(*where).order_by(at).limit(COUNTED).subquery()
    count, oldest = db.execute(select(func.count(), func.min(some.c.at)).select_from(some)).one()
    return count, oldest


def age(since: datetime | None, now: datetime | None = None) -> float:
    """Return the seconds since then; 0 for None and for future times."""
    return max(0.0, ((now or clock.wall()) - since).total_seconds()) if since else 0.0


class Snapshot:
    """One per application."""

    def __init__(self, database: Database, fresh: float = FRESH, patience: float = PATIENCE) -> None:
        self.database, self.fresh, self.patience = database, fresh, patience
        self._reads: dict[str, Read] = {}
        self._queues: dict[tuple[str, ...], AllWaiting] = {}
        self._lock = threading.Lock()
        self._running: threading.Thread | None = None
        self._last: list[Metric] = []
        self._queried_at = -fresh

    def add(self, name: str, read: Read) -> None:
        self._reads[name] = read

    def add_queue(self, name: str, waiting: Waiting) -> None:
        self.add_queues((name,), lambda db: {name: waiting(db)})

    def add_queues(self, names: tuple[str, ...], waiting: AllWaiting) -> None:
        """Add several queues that one statement reads."""
        self._queues[names] = waiting

    @property
    def queues(self) -> frozenset[str]:
        return frozenset(name for names in self._queues for name in names)

    def collect(self) -> list[Metric]:
        """Return the latest metrics; only `portal_database_up 0` if the database does not answer in time."""
        with self._lock:
            if self._running is None or not self._running.is_alive():
                if self._last and time.monotonic() - self._queried_at < self.fresh:
                    return self._last
                self._running = threading.Thread(target=self._query, name="metrics", daemon=True)
                self._running.start()
            running = self._running
        running.join(self.patience)
        return [_up(0)] if running.is_alive() else self._last

    def _query(self) -> None:
        try:
            self._last = [_up(1), *self._read_all()]
        except Exception as away:
            log.warning("metrics: the database does not answer", error=type(away).__name__)
            self._last = [_up(0)]
        self._queried_at = time.monotonic()

    def _read_all(self) -> list[Metric]:
        """Read all groups in one transaction; after a failed statement, in a new one. Raises if none can begin."""
        families: list[Metric] = []
        failed: dict[str, float] = {}
        left = [*self._reads.items(), ("queues", self._read_queues)]
        while left:
            with self.database.open(everything("metrics of the deployment")) as db:
                _limit_time(db)
                while left:
                    name, read = left.pop(0)
                    failed[name] = 0
                    try:
                        families += list(read(db))
                    except Exception as problem:  # a failing group is reported as failed; the others are still read
                        log.exception("metrics: group could not be read", metric=name, error=type(problem).__name__)
                        failed[name] = 1
                        break
        return [*families, gauge("portal_metrics_failed", "1 if this group of metrics could not be read", failed, "group")]

    def _read_queues(self, db: ScopedSession) -> Iterator[Metric]:
        found = {name: due for waiting in self._queues.values() for name, due in waiting(db).items()}
        yield gauge(
            "portal_queue_items",
            f"Pieces of work that are due, up to {COUNTED}",
            {name: count for name, (count, _) in found.items()},
            "queue",
        )
        yield gauge(
            "portal_queue_oldest_seconds",
            "Time that the oldest piece of work has been due",
            {name: age(oldest) for name, (_, oldest) in found.items()},
            "queue",
        )


def _limit_time(db: ScopedSession) -> None:
    connection = db.connection()
    if connection.dialect.name == "postgresql":
        with raw_sql():
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT}")


def _up(value: int) -> Metric:
    return gauge("portal_database_up", "1 if the database answered this process", {(): value})
