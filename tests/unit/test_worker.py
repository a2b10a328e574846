"""The outbox's worker: leases and fences, back-off, parking, and each handler once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from core import clock
from core.outbox import Outbox, emit
from core.scope import everything
from core.worker import BACKOFF, BATCH, Handlers, Lease, Tick, Work, Worker


class Book:
    """A handler that remembers what it got, and fails as often as it is told to."""

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
        for one in db.scalars(select(Outbox).where(Outbox.state == "pending")):
            one.due_at = clock.wall() - timedelta(seconds=1)


def worker(database: Any, **patterns: Callable[[Work], None]) -> Worker:
    handlers = Handlers()
    for name, handler in patterns.items():
        handlers.on("acorn.*", handler, name)
    return Worker(database, handlers)


def test_all_that_is_due_is_done_once(database: Any, leave: Any, row: Any) -> None:
    book, ids = Book(), leave(BATCH * 2 + 3)
    leave(1, "birch.fell")  # nobody listens: done all the same
    one = worker(database, book=book)
    assert one.drain() == len(ids) + 1 and sorted(book.seen) == sorted(ids)
    assert one.drain() == 0 and {row(id).state for id in ids} == {"done"}


def test_what_failed_comes_again_later_and_what_was_done_is_not_repeated(database: Any, leave: Any, row: Any) -> None:
    good, bad = Book(), Book(fails=2)
    one, id = worker(database, good=good, bad=bad), leave()[0]
    for attempt in (1, 2):
        assert one.drain() == 1 and one.drain() == 0  # not due before its back-off is over
        kept = row(id)
        assert (kept.state, kept.attempts, kept.done) == ("pending", attempt, ["good"]) and "not now" in kept.error
        wait = (kept.due_at - clock.wall()).total_seconds()
        assert BACKOFF[attempt - 1] - 1 < wait <= BACKOFF[attempt - 1]
        overdue(database)
    assert one.drain() == 1
    assert (row(id).state, row(id).error) == ("done", None) and len(good.seen) == 1 and len(bad.seen) == 3


def test_what_fails_for_ever_is_parked_and_holds_nobody_up(database: Any, leave: Any, row: Any) -> None:
    bad = Book(fails=10**6)
    one, id = worker(database, bad=bad), leave()[0]
    for _ in range(len(BACKOFF) + 3):
        overdue(database)
        one.drain()
    assert row(id).state == "parked" and len(bad.seen) == len(BACKOFF) + 1
    assert one.drain() == 0


def test_a_lease_keeps_work_single_and_hands_it_over_when_it_ends(database: Any, leave: Any, row: Any) -> None:
    book, id = Book(), leave()[0]
    slow, quick = worker(database, book=book), worker(database, book=book)
    (work, fence, done), = slow.claim()
    assert quick.claim() == []
    overdue(database)  # the first one hangs; its lease runs out
    (again, newer, _), = quick.claim()
    assert again.id == work.id == id and newer == fence + 1
    quick.perform(again, newer, [])
    slow._finish(work, fence, done, "it came back and failed")  # what it says is no longer asked for
    assert (row(id).state, row(id).error, row(id).attempts) == ("done", None, 0)


def test_two_workers_share_the_work(database: Any, leave: Any) -> None:
    book, ids = Book(), leave(BATCH * 3)
    gate = threading.Barrier(2)

    def run(one: Worker) -> None:
        gate.wait()
        one.drain()

    threads = [threading.Thread(target=run, args=(worker(database, book=book),)) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(book.seen) == sorted(ids)


def test_a_chore_is_taken_by_one_process_at_a_time(database: Any) -> None:
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
