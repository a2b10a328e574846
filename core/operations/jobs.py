"""Recurring jobs: last run, next run, and failed rows (core/recurring_jobs.py)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from core import clock
from core.db import ScopedSession
from core.errors import N_, NotFound
from core.job_runs import WRITE_EVERY, JobRun
from core.leases import Lease
from core.operations import audit
from core.recurring_jobs import JobFailure

SHOWN = 50
LATE_AFTER = timedelta(minutes=5)
_ENDINGS = "Error|Exception|Refused|Deferred|Unreachable|Offered|Timeout|Disconnected|Found|Busy|Pending"
_KIND = re.compile(rf"(?:\w{{1,50}}\.)*\w{{0,50}}(?:{_ENDINGS})")


@dataclass(frozen=True)
class Job:
    """`next_at`: when its lease ends. `is_late`: no success for three times its interval and five minutes more."""

    name: str
    every: timedelta
    ran_at: datetime | None
    duration_ms: int
    succeeded_at: datetime | None
    failures: int
    error: str | None
    next_at: datetime | None

    @property
    def is_late(self) -> bool:
        """Whether the job is late. A job that never ran is not late, because the deployment may be new."""
        since = self.succeeded_at or self.ran_at
        return since is not None and clock.wall() - since > 3 * self.every + LATE_AFTER + timedelta(seconds=WRITE_EVERY)


@dataclass(frozen=True)
class FailingRow:
    """`row_id`: an internal id, such as a subscription's. `error`: the class only, because the message may hold data."""

    business_id: str
    id: str
    job: str
    row_id: str
    failures: int
    error: str
    failed_at: datetime
    retry_at: datetime


def jobs(db: ScopedSession, ticks: Iterable[Any]) -> list[Job]:
    """Return every recurring job of this version, by name. `ticks`: those of the worker."""
    runs = {row.name: row for row in db.scalars(select(JobRun))}
    wanted = {tick.name: tick.every for tick in ticks}
    until = {lease.name: lease.until for lease in db.scalars(select(Lease).where(Lease.name.in_(wanted)))}
    return [_job(name, every, runs.get(name), until.get(name)) for name, every in sorted(wanted.items())]


def failures(db: ScopedSession) -> dict[str, int]:
    """Return the number of failed rows per job."""
    return {job: count for job, count in db.execute(select(JobFailure.job, func.count(JobFailure.id)).group_by(JobFailure.job))}


def failing_rows(db: ScopedSession, limit: int = SHOWN) -> list[FailingRow]:
    """Return failed rows, the longest failing first."""
    rows = db.scalars(select(JobFailure).order_by(JobFailure.failures.desc(), JobFailure.failed_at, JobFailure.id).limit(limit))
    return [
        FailingRow(row.business_id, row.id, row.job, row.row_id, row.failures, kind_of(row.error), row.failed_at, row.retry_at)
        for row in rows
    ]


def try_again(db: ScopedSession, business_id: str, failure_id: str, source: str) -> str:
    """Let the job retry the row in its next run. Returns the job's name. Raises NotFound if it no longer fails."""
    row = db.scalar(select(JobFailure).where(JobFailure.business_id == business_id, JobFailure.id == failure_id).with_for_update())
    if row is None:
        raise NotFound(sentence=N_("This is no longer waiting."))
    row.retry_at = clock.wall()
    audit.record(db, "job_tried_again", f"{business_id}/{failure_id}", source)
    return row.job


def kind_of(error: str) -> str:
    """`IntegrityError: (…) Key (email)=(…)` → `IntegrityError`; empty if it is not an error class, because it may be data."""
    kind = error.partition(":")[0]
    return kind if _KIND.fullmatch(kind) else ""


def _job(name: str, every: timedelta, row: JobRun | None, until: datetime | None) -> Job:
    if row is None:
        return Job(name, every, None, 0, None, 0, None, until)
    return Job(name, every, row.ran_at, row.duration_ms, row.succeeded_at, row.failures, row.error, until)
