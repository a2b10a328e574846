"""Carries events to the world: claims due work under a lease, runs the handlers, retries with back-off, parks the poisoned.

One handler is one function of an event and is idempotent by the event's id; what a work item has done already is
kept on its row, so that a retry does not repeat it. Ticks are periodic chores; a database lease keeps them single.
"""

from __future__ import annotations

import fnmatch
import os
import secrets
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Mapped, mapped_column

from core import clock
from core.db import Database
from core.models import Base
from core.outbox import Outbox
from core.scope import Actor, everything

log = structlog.get_logger()

LEASE = timedelta(seconds=120)
BACKOFF = [1, 5, 30, 120, 600, 3600, 3 * 3600, 12 * 3600]  # seconds; after the last: parked
BATCH = 20


class Lease(Base):
    """Who runs a chore, and until when."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    until: Mapped[datetime]


@dataclass(frozen=True)
class Work:
    """What a handler gets."""

    id: str
    type: str
    business_id: str | None
    customer_id: str | None
    noun_id: str | None
    actor: Actor
    data: dict[str, Any]
    at: datetime


Handler = Callable[[Work], None]


@dataclass
class Handlers:
    """Pattern → functions. `on("subscription.*", letters.subscription)`."""

    _all: list[tuple[str, str, Handler]] = field(default_factory=list)

    def on(self, pattern: str, handler: Handler, name: str | None = None) -> None:
        self._all.append((pattern, name or f"{handler.__module__}.{handler.__qualname__}", handler))

    def of(self, type: str) -> list[tuple[str, Handler]]:
        return [(name, handler) for pattern, name, handler in self._all if fnmatch.fnmatchcase(type, pattern)]


@dataclass
class Tick:
    name: str
    every: timedelta
    run: Callable[[], object]


class Worker:
    def __init__(self, database: Database, handlers: Handlers, ticks: list[Tick] | None = None) -> None:
        self.database = database
        self.handlers = handlers
        self.ticks = ticks or []
        self.around: Callable[[], AbstractContextManager[object]] = nullcontext
        self.each_round: list[Callable[[], object]] = []  # in every worker, unlike the chores
        self.name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self.at_end: list[Callable[[], object]] = []  # what else the worker started, ended with it
        self._wake = threading.Event()

    def wake(self) -> None:
        self._wake.set()

    def drain(self, limit: int = 10_000) -> int:
        """Run every tick and all work that is due, now. Returns how many pieces of work ran."""
        count = 0
        for tick in self.ticks:
            tick.run()
        while count < limit and (batch := self.claim()):
            for work, fence, done in batch:
                self.perform(work, fence, done)
                count += 1
        return count

    def run_forever(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                for look in self.each_round:
                    look()
                for tick in self.ticks:
                    if self.take_lease(tick):
                        tick.run()
                while not stop.is_set() and (batch := self.claim()):
                    for work, fence, done in batch:
                        self.perform(work, fence, done)
            except Exception:
                log.exception("worker round failed")
            self._wake.wait(1.0)
            self._wake.clear()
        for end in self.at_end:
            end()

    def take_lease(self, tick: Tick) -> bool:
        """True when this process runs the chore now; the lease then lasts until the chore is due again."""
        at = clock.wall()
        with self.database.open(everything("lease of a chore"), write=True) as db:
            lease = db.get(Lease, tick.name, with_for_update=not self.database.is_sqlite)
            if lease is None:
                db.add(Lease(name=tick.name, holder=self.name, until=at + tick.every))
                return True
            if lease.until > at:
                return False
            lease.holder, lease.until = self.name, at + tick.every
            return True

    def claim(self) -> list[tuple[Work, int, list[str]]]:
        at = clock.wall()
        with self.database.open(everything("claim work"), write=True) as db:
            query = (
                select(Outbox).where(Outbox.state == "pending", Outbox.due_at <= at).order_by(Outbox.due_at, Outbox.id)
                .limit(BATCH).with_for_update(skip_locked=True)
            )
            out = []
            for row in db.scalars(query):
                row.due_at, row.fence = at + LEASE, row.fence + 1
                out.append((_work(row), row.fence, list(row.done)))
            return out

    def perform(self, work: Work, fence: int, done: list[str]) -> None:
        with self.around():  # wsgi.py puts the application's context here: letters need templates and words
            error = self._run(work, done)
        self._finish(work, fence, done, error)

    def _run(self, work: Work, done: list[str]) -> str | None:
        error: str | None = None
        for name, handler in self.handlers.of(work.type):
            if name in done:
                continue
            try:
                handler(work)
                done.append(name)
            except Exception as problem:
                log.exception("handler failed", handler=name, event_id=work.id, event_type=work.type)
                error = f"{name}: {type(problem).__name__}: {problem}"[:500]
        return error

    def _finish(self, work: Work, fence: int, done: list[str], error: str | None) -> None:
        with self.database.open(everything("finish work"), write=True) as db:
            row = db.get(Outbox, work.id)
            if row is None or row.fence != fence:
                return  # somebody else took over after our lease ran out
            row.done = done
            if error is None:
                row.state, row.error = "done", None
            else:
                row.error = error
                if row.attempts >= len(BACKOFF):
                    row.state = "parked"
                else:
                    row.due_at = clock.wall() + timedelta(seconds=BACKOFF[row.attempts])
                row.attempts += 1


def _work(row: Outbox) -> Work:
    return Work(row.id, row.type, row.business_id, row.customer_id, row.noun_id, Actor(row.actor_type, row.actor_id),  # type: ignore[arg-type]
                dict(row.data), row.at)
