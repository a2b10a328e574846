"""Metrics of the outbox, recurring jobs, their failed rows, and the database's clock and schema."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from prometheus_client.metrics_core import Metric
from sqlalchemy import case, func, select

from core import clock, revisions
from core.db import ScopedSession
from core.guard import raw_sql
from core.job_runs import JobRun
from core.metrics.snapshot import COUNTED, Snapshot, age, gauge
from core.outbox import SIGN_IN, Outbox, written_at
from core.recurring_jobs import JobFailure

if TYPE_CHECKING:
    from core.worker import Worker

QUEUES = ("sign_in", "emails", "business", "system")
"""Queues of the outbox: sign-in emails, other emails, work of businesses, everything else."""
OPEN = ("pending", "mail")
"""States of rows in the outbox that are not done."""
STATES = ("due", "running", "retrying", "scheduled", "given_up")


def register(facts: Snapshot, worker: Worker) -> None:
    facts.add("database", _database)
    facts.add("work", work)
    facts.add("jobs", lambda db: _jobs(db, worker))
    facts.add("failed rows", lambda db: _failed_rows(db, worker))
    facts.add_queues(QUEUES, _due)


def _database(db: ScopedSession) -> Iterator[Metric]:
    connection = db.connection()
    clock_of = (
        "EXTRACT(epoch FROM clock_timestamp())" if connection.dialect.name == "postgresql" else "(julianday('now') - 2440587.5) * 86400.0"
    )
    with raw_sql():
        before = clock.wall().timestamp()
        theirs = float(connection.exec_driver_sql(f"SELECT {clock_of}").scalar_one())
        ours = (before + clock.wall().timestamp()) / 2
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all()
    yield gauge("portal_clock_difference_seconds", "The database's clock minus this process's", {(): theirs - ours})
    yield gauge("portal_database_schema", "1 for the schema revision that the database is at", {(",".join(sorted(found)),): 1}, "revision")
    yield gauge(
        "portal_database_schema_current", "1 if it is the one this version needs", {(): float(frozenset(found) == revisions.newest())}
    )


def _queue() -> Any:
    """Return the queue of a row, from its lane (`lane_of`)."""
    return case(
        (Outbox.lane == SIGN_IN, "sign_in"),
        (Outbox.state == "mail", "emails"),
        (func.substr(Outbox.lane, 1, 4) == "bus_", "business"),
        else_="system",
    ).label("queue")


def work(db: ScopedSession) -> Iterator[Metric]:
    """Yield the open work of the outbox by queue and state."""
    at = clock.wall()
    state = case(
        (Outbox.state == "given_up", "given_up"),
        (Outbox.due_at <= at, "due"),
        (Outbox.attempts > 0, "retrying"),
        (Outbox.fence > 0, "running"),
        else_="scheduled",
    )
    found: dict[tuple[str, str], float] = {(queue, item): 0 for queue in QUEUES for item in STATES}
    failing: dict[str, datetime] = {}
    for kind in (*OPEN, "given_up"):
        some = (
            select(_queue(), state.label("state"), Outbox.attempts, Outbox.id)
            .where(Outbox.state == kind)
            .order_by(Outbox.due_at)
            .limit(COUNTED)
            .subquery()
        )
        rows = db.execute(
            select(some.c.queue, some.c.state, func.count(), func.min(case((some.c.attempts > 0, some.c.id)))).group_by(
                some.c.queue, some.c.state
            )
        )
        for queue, name, count, oldest in rows:
            found[queue, name] += count
            if kind != "given_up" and oldest:
                since = written_at(oldest)
                failing[queue] = min(since, failing.get(queue, since))
    yield gauge("portal_work_items", f"Pieces of work by state, up to {COUNTED}", found, "queue", "state")
    yield gauge(
        "portal_work_failing_oldest_seconds",
        "Age of the oldest piece of work that failed and is retried",
        {queue: age(failing.get(queue)) for queue in QUEUES},
        "queue",
    )


def _due(db: ScopedSession) -> dict[str, tuple[int, datetime | None]]:
    found: dict[str, tuple[int, datetime | None]] = dict.fromkeys(QUEUES, (0, None))
    for state in OPEN:
        some = (
            select(_queue(), Outbox.due_at.label("at"))
            .where(Outbox.state == state, Outbox.due_at <= clock.wall())
            .order_by(Outbox.due_at)
            .limit(COUNTED)
            .subquery()
        )
        for queue, count, oldest in db.execute(select(some.c.queue, func.count(), func.min(some.c.at)).group_by(some.c.queue)):
            before, since = found[queue]
            found[queue] = before + count, min(item for item in (oldest, since) if item)
    return found


def _jobs(db: ScopedSession, worker: Worker) -> Iterator[Metric]:
    """Yield the metrics of every job of this version; 0 for jobs that never ran."""
    runs = {run.name: run for run in db.scalars(select(JobRun))}
    names = [tick.name for tick in worker.ticks]
    ran: dict[str, float] = {name: runs[name].ran_at.timestamp() if name in runs else 0.0 for name in names}
    succeeded = {name: at.timestamp() if name in runs and (at := runs[name].succeeded_at) else 0.0 for name in names}
    yield gauge(
        "portal_job_interval_seconds",
        "Interval of a recurring job",
        {tick.name: tick.every.total_seconds() for tick in worker.ticks},
        "job",
    )
    yield gauge("portal_job_last_run_timestamp_seconds", "When a recurring job ran last; 0: never", ran, "job")
    yield gauge("portal_job_last_success_timestamp_seconds", "When a recurring job last succeeded; 0: never", succeeded, "job")
    yield gauge(
        "portal_job_last_duration_seconds",
        "Duration of the last run",
        {name: runs[name].duration_ms / 1000 if name in runs else 0.0 for name in names},
        "job",
    )
    yield gauge(
        "portal_job_failing_runs", "Failed runs in a row", {name: runs[name].failures if name in runs else 0 for name in names}, "job"
    )


def _failed_rows(db: ScopedSession, worker: Worker) -> Iterable[Metric]:
    """Yield the rows that failed in a recurring job and are retried with growing intervals."""
    found: dict[str, float] = dict.fromkeys([*(tick.name for tick in worker.ticks), *(lanes.name for lanes in worker.lanes)], 0.0)
    for job, count in db.execute(select(JobFailure.job, func.count()).group_by(JobFailure.job)):
        found[job] = count
    yield gauge("portal_job_failed_rows", "Rows that failed in a job and will be retried", found, "job")
