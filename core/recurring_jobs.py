"""Run recurring jobs fairly: businesses take turns, and failing rows are retried with growing delays.

query = select(Subscription.business_id, Subscription.id).where(…, rested("renewals", Subscription))
rows = db.execute(in_turns(query, Subscription.business_id, Subscription.next_billing_at, limit=50)).all()
run(database, "renewals", rows, lambda business_id, id: …)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice, zip_longest
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Index, Select, delete, func, select, union_all
from sqlalchemy.orm import Mapped, mapped_column

from core import clock
from core.db import Database, ScopedSession
from core.errors import PortalError
from core.models import Base, BusinessOwned
from core.scope import everything, system
from core.transaction_retry import retried

log = structlog.get_logger()

BACKOFF = (30, 120, 600, 3600, 6 * 3600, 24 * 3600)
"""Seconds until a row is retried after its first, second, … failure in a row; then always the last value."""
AT_MOST = 20.0
"""Seconds of one run of a job; the next run does the rest."""
Row = tuple[str, str]
"""(business_id, id)"""


class JobFailure(Base, BusinessOwned):
    """A row that failed in a recurring job. `id` is job:row. Deleted after a success.

    `error` is for operators. `sentence` is the refusal for the merchant (core/refusals.py), empty for other errors.
    """

    __tablename__ = "job_failures"
    __table_args__ = (Index("ix_job_failures_retry", "retry_at"),)

    job: Mapped[str]
    row_id: Mapped[str]
    failures: Mapped[int] = mapped_column(default=0)
    error: Mapped[str]
    sentence: Mapped[str] = mapped_column(default="")
    began_at: Mapped[datetime]  # wall clock; the first failure in a row
    retry_at: Mapped[datetime]  # wall clock
    failed_at: Mapped[datetime]


def in_turns(query: Select[Any, Any], owner: Any, *order: Any, limit: int) -> Select[*tuple[Any, ...]]:
    """Limit `query` to `limit` rows in turns: the first row of every owner (by `order`), then every second row, and so on.

    `query` selects at least the owner's column. Its columns keep their order and names.
    """
    places = [item.label(f"place_{n}") for n, item in enumerate(order)]
    numbered = query.add_columns(func.row_number().over(partition_by=owner, order_by=order).label("turn"), *places).subquery()
    columns = list(numbered.c)[: -1 - len(places)]
    return select(*columns).order_by(numbered.c.turn, *(numbered.c[place.name] for place in places)).limit(limit)


def first_of_each(db: ScopedSession, owners: Any, key: Any, order: Any, *conditions: Any, limit: int) -> list[tuple[Any, str, str]]:
    """Return [(value of `order`, owner, value of `key`)] with at most `limit` rows per owner, of the owners with the first rows.

    `owners` is the table of businesses; `conditions` join the rows to it. Uses two statements, whatever the number of owners. With
    an index on (owner, order) they read only the returned rows and the rows before them that do not match.
    """
    first = select(order).where(*conditions).order_by(order).limit(1).correlate(owners).scalar_subquery()
    begins = select(owners.business_id, first.label("first")).subquery()
    theirs = list(
        db.scalars(
            select(begins.c.business_id).where(begins.c.first.is_not(None)).order_by(begins.c.first, begins.c.business_id).limit(limit)
        )
    )
    if not theirs:
        return []
    share = min(limit, max(1, 4 * limit // len(theirs)))
    parts = [
        select(order.label("at"), owners.business_id.label("owner"), key.label("key"))
        .where(owners.business_id == owner, *conditions)
        .order_by(order, key)
        .limit(share)
        .subquery()
        for owner in theirs
    ]
    found = db.execute(union_all(*(select(part) for part in parts)) if len(parts) > 1 else select(parts[0]))
    return [(row[0], row[1], row[2]) for row in found]


def dealt(rows: Iterable[tuple[Any, str, str]], limit: int) -> list[Row]:
    """Order rows of `first_of_each` in turns: the first of each owner, then the second of each …; `limit` in total."""
    by_owner: dict[str, list[Row]] = {}
    for _at, owner, key in sorted(rows):
        by_owner.setdefault(owner, []).append((owner, key))
    return list(islice(alternate(list(by_owner.values())), limit))


def rested(job: str, owner: Any, row_id: Any) -> ColumnElement[bool]:
    """Return the condition that the row did not fail in this job, or may be retried."""
    failed = select(JobFailure.id).where(
        JobFailure.business_id == owner, JobFailure.id == job + ":" + row_id, JobFailure.retry_at > clock.wall()
    )
    return ~failed.exists()


def old_rows(database: Database, owners: Any, key: Any, *conditions: Any, limit: int) -> list[str]:
    """Return at most `limit` ids for a retention job, with the same share for each owner.

    `owners` is the table of businesses; `conditions` join the rows to it. Reads no more rows than it returns.
    """
    with database.open(everything("find old rows")) as db:
        some = select(owners.business_id).where(select(key).where(*conditions).exists()).order_by(func.random()).limit(limit)
        theirs = list(db.scalars(some))
        share = max(1, limit // max(1, len(theirs)))
        return [
            row
            for owner in theirs
            for row in db.scalars(select(key).join(owners, owners.business_id == owner).where(*conditions).limit(share))
        ]


def alternate(lists: Sequence[Sequence[Row]]) -> Iterator[Row]:
    """Yield the first of each list, then the second of each, and so on."""
    for turn in zip_longest(*lists):
        yield from (row for row in turn if row is not None)


def run(database: Database, job: str, rows: Iterable[Row], act: Callable[[str, str], object], at_most: float = AT_MOST) -> int:
    """Call `act(business_id, id)` for each row. A row that raises is logged and retried later. Returns how many rows ran.

    A refusal (PortalError) or a repeated error is logged in one line; only a new error is logged with its traceback.
    """
    rows, began, count = [(owner, row_id) for owner, row_id in rows], time.monotonic(), 0
    failed_before = _failed(database, job, rows)
    for business_id, row_id in rows:
        if count and time.monotonic() - began > at_most:
            break
        count += 1
        try:
            retried(act)(business_id, row_id)
        except Exception as problem:
            failures, is_new = _note(database, job, business_id, row_id, problem)
            about = {"job": job, "business_id": business_id, "id": row_id, "failures": failures}
            if isinstance(problem, PortalError):
                log.warning("job row refused", error=problem.code, **about)
            elif is_new:
                log.exception("job row failed", **about)
            else:
                log.error("job row failed again", error=type(problem).__name__, **about)
        else:
            if (business_id, row_id) in failed_before:
                with database.open(system(business_id), write=True) as db:
                    db.execute(delete(JobFailure).where(JobFailure.id == f"{job}:{row_id}"))
    return count


def _failed(database: Database, job: str, rows: list[Row]) -> set[Row]:
    if not rows:
        return set()
    with database.open(everything("find rows that failed before")) as db:
        found = db.execute(
            select(JobFailure.business_id, JobFailure.row_id).where(
                JobFailure.business_id.in_({owner for owner, _ in rows}), JobFailure.id.in_({f"{job}:{row_id}" for _, row_id in rows})
            )
        )
        return {(business_id, row_id) for business_id, row_id in found}


def _note(database: Database, job: str, business_id: str, row_id: str, problem: Exception) -> tuple[int, bool]:
    """Store the failure. Returns the number of failures in a row, and whether the error is new."""
    at, error = clock.wall(), f"{type(problem).__name__}: {problem}"[:500]
    with database.open(system(business_id), write=True) as db:
        row = db.scalar(select(JobFailure).where(JobFailure.id == f"{job}:{row_id}"))
        if row is None:
            row = JobFailure(
                business_id=business_id,
                id=f"{job}:{row_id}",
                job=job,
                row_id=row_id,
                failures=0,
                error="",
                began_at=at,
                retry_at=at,
                failed_at=at,
            )
            db.add(row)
        is_new = row.error != error
        row.failures += 1
        row.error, row.failed_at = error, at
        row.sentence = problem.sentence if isinstance(problem, PortalError) else ""
        row.retry_at = at + timedelta(seconds=BACKOFF[min(row.failures, len(BACKOFF)) - 1])
        return row.failures, is_new


def retry_now(db: ScopedSession, id: str) -> bool:
    """Let the next run of the job retry a failed row. Returns whether the row exists."""
    row = db.scalar(select(JobFailure).where(JobFailure.id == id))
    if row is not None:
        row.retry_at = clock.wall()
    return row is not None


def sweep(database: Database) -> int:
    """Delete failures that could have been retried two days ago, because their rows are no longer due. Returns how many."""
    with database.open(everything("delete old job failures"), write=True) as db:
        gone = db.execute(
            delete(JobFailure).where(JobFailure.retry_at < clock.wall() - timedelta(days=2)),
            execution_options={"synchronize_session": False},
        )
        return int(gone.rowcount)  # type: ignore[attr-defined]
