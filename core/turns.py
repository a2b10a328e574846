"""Recurring jobs take turns between businesses, and rows that fail back off: nobody's rows keep anybody else's waiting.

    query = select(Subscription.business_id, Subscription.id).where(…, rested("renewals", Subscription))
    rows = db.execute(in_turns(query, Subscription.business_id, Subscription.next_billing_at, limit=50)).all()
    run(database, "renewals", rows, lambda business_id, id: …)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Index, Select, delete, func, select
from sqlalchemy.orm import Mapped, mapped_column

from core import clock
from core.conflicts import retried
from core.db import Database
from core.models import Base, BusinessOwned
from core.scope import everything, system

log = structlog.get_logger()

BACKOFF = (30, 120, 600, 3600, 6 * 3600, 24 * 3600)
"""Seconds until a row is tried again, after its first, second, … failure in a row; the last one from then on."""
AT_MOST = 20.0
"""Seconds a run of a job goes on; what is left is done in the next run."""
Row = tuple[str, str]
"""(business_id, id)"""


class JobFailure(Base, BusinessOwned):
    """A row that a recurring job could not do. `id` is job:row. Deleted when it is done after all."""

    __tablename__ = "job_failures"
    __table_args__ = (Index("ix_job_failures_retry", "retry_at"),)

    job: Mapped[str]
    row_id: Mapped[str]
    failures: Mapped[int] = mapped_column(default=0)
    error: Mapped[str]
    retry_at: Mapped[datetime]  # wall clock
    failed_at: Mapped[datetime]


def in_turns(query: Select[Any, Any], owner: Any, *order: Any, limit: int) -> Select[*tuple[Any, ...]]:
    """The first `limit` rows of `query`: the first of every owner (by `order`), then every owner's second, and so on.

    `query` selects at least the owner's column; its columns come back in their order, under the same names.
    """
    places = [one.label(f"place_{n}") for n, one in enumerate(order)]
    numbered = query.add_columns(func.row_number().over(partition_by=owner, order_by=order).label("turn"), *places).subquery()
    columns = list(numbered.c)[: -1 - len(places)]
    return select(*columns).order_by(numbered.c.turn, *(numbered.c[one.name] for one in places)).limit(limit)


def rested(job: str, owner: Any, row_id: Any) -> ColumnElement[bool]:
    """Condition: the row did not fail in this job, or may be tried again."""
    failed = select(JobFailure.id).where(JobFailure.business_id == owner, JobFailure.id == job + ":" + row_id,
                                         JobFailure.retry_at > clock.wall())
    return ~failed.exists()


def old_rows(database: Database, owners: Any, key: Any, *conditions: Any, limit: int) -> list[str]:
    """Ids for a retention job, `limit` at most: each owner that has any gets the same share.

    `owners` is the table of businesses; `conditions` join the rows to it. Reads no more rows than it returns.
    """
    with database.open(everything("whose rows are old")) as db:
        some = select(owners.business_id).where(select(key).where(*conditions).exists()).order_by(func.random()).limit(limit)
        theirs = list(db.scalars(some))
        share = max(1, limit // max(1, len(theirs)))
        return [one for owner in theirs for one in db.scalars(
            select(key).join(owners, owners.business_id == owner).where(*conditions).limit(share))]


def alternate(lists: Sequence[Sequence[Row]]) -> Iterator[Row]:
    """The first of each list, then the second of each, and so on."""
    for turn in zip_longest(*lists):
        yield from (row for row in turn if row is not None)


def run(database: Database, job: str, rows: Iterable[Row], act: Callable[[str, str], object], at_most: float = AT_MOST) -> int:
    """`act(business_id, id)` of each row; one that raises is logged, backs off, and keeps nobody else waiting. Returns how many ran."""
    rows, began, count = [(owner, one) for owner, one in rows], time.monotonic(), 0
    failed_before = _failed(database, job, rows)
    for business_id, one in rows:
        if count and time.monotonic() - began > at_most:
            break
        count += 1
        try:
            retried(act)(business_id, one)
        except Exception as problem:
            log.exception("a job failed for a row", job=job, business_id=business_id, id=one)
            _note(database, job, business_id, one, problem)
        else:
            if (business_id, one) in failed_before:
                with database.open(system(business_id), write=True) as db:
                    db.execute(delete(JobFailure).where(JobFailure.id == f"{job}:{one}"))
    return count


def _failed(database: Database, job: str, rows: list[Row]) -> set[Row]:
    if not rows:
        return set()
    with database.open(everything("what failed before in a job")) as db:
        found = db.execute(select(JobFailure.business_id, JobFailure.row_id).where(
            JobFailure.business_id.in_({owner for owner, _ in rows}), JobFailure.id.in_({f"{job}:{one}" for _, one in rows})))
        return {(business_id, one) for business_id, one in found}


def _note(database: Database, job: str, business_id: str, one: str, problem: Exception) -> None:
    at = clock.wall()
    with database.open(system(business_id), write=True) as db:
        row = db.scalar(select(JobFailure).where(JobFailure.id == f"{job}:{one}"))
        if row is None:
            row = JobFailure(business_id=business_id, id=f"{job}:{one}", job=job, row_id=one, failures=0, error="", retry_at=at,
                             failed_at=at)
            db.add(row)
        row.failures += 1
        row.error, row.failed_at = f"{type(problem).__name__}: {problem}"[:500], at
        row.retry_at = at + timedelta(seconds=BACKOFF[min(row.failures, len(BACKOFF)) - 1])


def sweep(database: Database) -> int:
    """Failures of rows that are no longer due anywhere: two days after they could have been tried again. Returns how many."""
    with database.open(everything("old failures of jobs go"), write=True) as db:
        gone = db.execute(delete(JobFailure).where(JobFailure.retry_at < clock.wall() - timedelta(days=2)),
                          execution_options={"synchronize_session": False})
        return int(gone.rowcount)  # type: ignore[attr-defined]
