"""Record when each recurring job last ran and last succeeded, in any process."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from weakref import WeakKeyDictionary

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapped, mapped_column

from core import clock
from core.db import Database
from core.metrics.instruments import JOB_FAILURES, JOB_SECONDS
from core.models import Base
from core.scope import everything
from core.spans import span

log = structlog.get_logger()

WRITE_EVERY = 15.0
"""Seconds. Some jobs run every second; a run is stored if the last stored one is that old, or the outcome changed."""
_written: WeakKeyDictionary[Database, dict[str, tuple[float, str | None]]] = WeakKeyDictionary()


class JobRun(Base):
    """The last stored run of a job, by the wall clock.

    `failures`: stored failed runs since the last success. `error`: class of the last error.
    """

    __tablename__ = "job_runs"

    name: Mapped[str] = mapped_column(primary_key=True)
    ran_at: Mapped[datetime]
    succeeded_at: Mapped[datetime | None]
    duration_ms: Mapped[int]
    failures: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None]


def run(database: Database, job: str, act: Callable[[], object]) -> None:
    """Run a recurring job, update the metrics and store the outcome. Raises what `act` raises."""
    began = time.monotonic()
    try:
        with span("job", job):
            act()
    except Exception as problem:
        JOB_FAILURES.labels(job).inc()
        _note(database, job, began, type(problem).__name__)
        raise
    else:
        _note(database, job, began, None)
    finally:
        JOB_SECONDS.labels(job).observe(time.monotonic() - began)


def _note(database: Database, job: str, began: float, error: str | None) -> None:
    """Store the outcome. Never raises, because the job itself has ended."""
    known, now = _written.setdefault(database, {}), time.monotonic()
    before = known.get(job)
    if before is not None and before[1] == error and now - before[0] < WRITE_EVERY:
        return
    known[job] = now, error
    at, took = clock.wall(), now - began
    try:
        with database.open(everything("store a job run"), write=True) as db:
            row = db.get(JobRun, job, with_for_update=not database.is_sqlite)
            if row is None:
                row = JobRun(name=job, ran_at=at, succeeded_at=None, duration_ms=0, failures=0, error=None)
                db.add(row)
            row.ran_at, row.duration_ms = at - timedelta(seconds=took), round(took * 1000)
            if error is None:
                row.succeeded_at, row.failures, row.error = at, 0, None
            else:
                row.failures, row.error = row.failures + 1, error[:100]
    except SQLAlchemyError as problem:
        known.pop(job, None)
        log.warning("job run not stored", job=job, error=type(problem).__name__)
