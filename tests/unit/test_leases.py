"""Leases: on a new database exactly one of several workers gets each, and no statement fails."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

from sqlalchemy import event

from core.db import Database
from core.leases import release, take
from core.settings import Settings

WORKERS, JOBS = 4, 25
LENGTH = timedelta(minutes=1)


def test_workers_that_start_at_once_do_not_race_for_the_first_lease(settings: Settings) -> None:
    databases = [Database(settings) for _ in range(WORKERS)]
    errors: list[Any] = []
    taken: list[str] = []
    at_once = threading.Barrier(WORKERS)

    def work(number: int) -> None:
        for job in range(JOBS):
            at_once.wait(30)
            if take(databases[number], f"job {job}", f"worker {number}", LENGTH):
                taken.append(f"job {job}")

    for database in databases:
        event.listen(database.engine, "handle_error", lambda context: errors.append(context.original_exception))
    threads = [threading.Thread(target=work, args=(number,)) for number in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for database in databases:
        database.dispose()
    assert sorted(taken) == sorted(f"job {job}" for job in range(JOBS)), "each by one worker"
    assert errors == [], "the database's log is clean"


def test_a_lease_is_taken_over_when_it_is_over_or_given_back(database: Database) -> None:
    assert take(database, "job", "first", LENGTH) and not take(database, "job", "second", LENGTH)
    assert not take(database, "job", "first", LENGTH), "nor by its holder, while it lasts"
    release(database, "job", "second")
    assert not take(database, "job", "second", LENGTH), "only its holder gives it back"
    release(database, "job", "first")
    assert take(database, "job", "second", timedelta(0)) and take(database, "job", "third", LENGTH), "one that ran out is free"
