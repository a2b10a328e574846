"""The outbox's worker: leases and fences, back-off, giving up, and each handler once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from core import clock
from core.handlers import Handlers
from core.leases import Lease
from core.outbox import Outbox, emit
from core.outbox_claims import BACKOFF, BATCH, HandlingOutcome, Work
from core.scope import everything
from core.worker import Tick, Worker


class Book:
    """A handler that records its events and fails a set number of times."""

    def __init__(self, fails: int = 0) -> None:
        self.seen: list[str] = []
        self.fails = fails

    def __call__(self, work: Work) -> None:
        self.seen.append(work.id)
        if self.fails:
            self.fails -= 1
            raise RuntimeError("not now")


@pytest.fixture
def leave(database: Any) -> Callable[..., list[str]]:
    def some(count: int = 1, type: str = "acorn.fell") -> list[str]:
        with database.open(everything("events of a test"), write=True) as db:
            return [emit(db, type, data={"n": n}) for n in range(count)]

    return some


@pytest.fixture
def row(database: Any) -> Callable[[str], Outbox]:
    def read(id: str) -> Outbox:
        with database.open(everything("read work")) as db:
            found = db.get(Outbox, id)
            db.expunge_all()
            return found

    return read


def overdue(database: Any) -> None:
    with database.open(everything("time passes"), write=True) as db:
        for outbox in db.scalars(select(Outbox).where(Outbox.state == "pending")):
            outbox.due_at = clock.wall() - timedelta(seconds=1)


def worker(database: Any, **patterns: Callable[[Work], None]) -> Worker:
    handlers = Handlers()
    for name, handler in patterns.items():
        handlers.on("acorn.*", handler, name)
    return Worker(database, handlers)


def test_due_work_is_done_once(database: Any, leave: Any, row: Any) -> None:
    book, ids = Book(), leave(BATCH * 2 + 3)
    leave(1, "birch.fell")  # no handler: done anyway
    item = worker(database, book=book)
    assert item.drain() == len(ids) + 1 and sorted(book.seen) == sorted(ids)
    assert item.drain() == 0 and {row(id).state for id in ids} == {"done"}


def test_failed_work_is_retried_and_done_work_is_not(database: Any, leave: Any, row: Any) -> None:
    good, bad = Book(), Book(fails=2)
    item, id = worker(database, good=good, bad=bad), leave()[0]
    for attempt in (1, 2):
        assert item.drain() == 1 and item.drain() == 0  # not due before its back-off is over
        kept = row(id)
        assert (kept.state, kept.attempts, kept.done) == ("pending", attempt, ["good"]) and "not now" in kept.error
        wait = (kept.due_at - clock.wall()).total_seconds()
        assert BACKOFF[attempt - 1] - 1 < wait <= BACKOFF[attempt - 1]
        overdue(database)
    assert item.drain() == 1
    assert (row(id).state, row(id).error) == ("done", None) and len(good.seen) == 1 and len(bad.seen) == 3


def test_work_that_always_fails_is_given_up(database: Any, leave: Any, row: Any) -> None:
    bad = Book(fails=10**6)
    item, id = worker(database, bad=bad), leave()[0]
    for _ in range(len(BACKOFF) + 3):
        overdue(database)
        item.drain()
    assert row(id).state == "given_up" and len(bad.seen) == len(BACKOFF) + 1
    assert item.drain() == 0


def test_leased_work_is_done_by_one_worker(database: Any, leave: Any, row: Any) -> None:
    book, id = Book(), leave()[0]
    slow, quick = worker(database, book=book), worker(database, book=book)
    ((work, fence, done),) = slow.claim()
    assert quick.claim() == []
    overdue(database)  # the first one hangs; its lease runs out
    ((again, newer, _),) = quick.claim()
    assert again.id == work.id == id and newer == fence + 1
    quick.perform(again, newer, [])
    slow._claims.finish(work, fence, done, HandlingOutcome("it came back and failed"))  # its result is discarded
    assert (row(id).state, row(id).error, row(id).attempts) == ("done", None, 0)


def test_two_workers_share_the_work(database: Any, leave: Any) -> None:
    book, ids = Book(), leave(BATCH * 3)
    gate = threading.Barrier(2)

    def run(worker: Worker) -> None:
        gate.wait()
        worker.drain()

    threads = [threading.Thread(target=run, args=(worker(database, book=book),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(book.seen) == sorted(ids)


def test_a_recurring_job_runs_in_one_process_at_a_time(database: Any) -> None:
    first, second = worker(database), worker(database)
    chore = Tick("renewals", timedelta(seconds=30), lambda: None)
    assert first.take_lease(chore) and not second.take_lease(chore) and not first.take_lease(chore)
    with database.open(everything("time passes"), write=True) as db:
        db.get(Lease, chore.name).until = clock.wall() - timedelta(seconds=1)
    assert second.take_lease(chore) and not first.take_lease(chore)


def test_patterns_choose_handlers(database: Any) -> None:
    handlers = Handlers()
    handlers.on("subscription.*", print, "all")
    handlers.on("subscription.active", print, "one")
    assert [name for name, _ in handlers.of("subscription.active")] == ["all", "one"]
    assert [name for name, _ in handlers.of("subscription.cancelled")] == ["all"] and handlers.of("payment.failed") == []
