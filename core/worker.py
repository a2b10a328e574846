"""Carries events to the world: claims due work under a lease, runs the handlers, retries with back-off, parks the poisoned.

One handler is one function of an event and is idempotent by the event's id; what a work item has done already is
kept on its row, so that a retry does not repeat it. Ticks are recurring jobs; a database lease keeps them single.

Work is claimed in turns, a few rows of every lane (core/outbox.py): a business with a hundred thousand rows waits for
itself. Sign-in emails, other work, and recurring jobs have a thread each; slow network calls have lanes (core/lanes.py).
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
from time import monotonic
from typing import Any

import structlog
from sqlalchemy import func, select

from core import clock, leases
from core.db import Database, ScopedSession
from core.lanes import Lanes
from core.leases import Lease
from core.outbox import SIGN_IN, Outbox
from core.scope import Actor, everything

__all__ = ["BACKOFF", "BATCH", "Handler", "Handlers", "Lease", "Tick", "Work", "Worker"]

log = structlog.get_logger()

LEASE = timedelta(seconds=120)
BACKOFF = [1, 5, 30, 120, 600, 3600, 3 * 3600, 12 * 3600]  # seconds; after the last: parked
BATCH = 20


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
        self.lanes: list[Lanes] = []  # slow network calls, a thread per business that is being served
        self.around: Callable[[], AbstractContextManager[object]] = nullcontext
        self.each_round: list[Callable[[], object]] = []  # in every worker, unlike the ticks
        self.name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self.at_end: list[Callable[[], object]] = []  # what else the worker started, ended with it
        self._wake, self._wake_sign_in = threading.Event(), threading.Event()
        self._last_lane = ""  # where the last claim ended: the next one begins after it
        self._next_try: dict[str, float] = {}  # tick → when its lease is looked at again

    def wake(self) -> None:
        self._wake.set()
        self._wake_sign_in.set()

    def drain(self, limit: int = 10_000) -> int:
        """Run every tick and all work that is due, lanes included, now. Returns how many pieces of work ran."""
        count = 0
        for tick in self.ticks:
            tick.run()
        for _ in range(3):  # what lanes did may leave work, and the other way around
            while count < limit and (batch := self.claim()):
                for work, fence, done in batch:
                    self.perform(work, fence, done)
                    count += 1
            if not sum(lanes.drain() for lanes in self.lanes):
                break
        return count

    def run_forever(self, stop: threading.Event) -> None:
        """Work, until `stop`. Sign-in emails and ticks run in threads of their own, so that neither waits for other work."""
        others = [threading.Thread(target=self._sign_ins, args=(stop,), name="worker: sign-in emails", daemon=True),
                  threading.Thread(target=self._recurring, args=(stop,), name="worker: recurring jobs", daemon=True)]
        for one in others:
            one.start()
        while not stop.is_set():
            try:
                for look in self.each_round:
                    look()
                for lanes in self.lanes:
                    lanes.start()
                while not stop.is_set() and (batch := self.claim()):
                    for work, fence, done in batch:
                        self.perform(work, fence, done)
            except Exception:
                log.exception("worker round failed")
            self._wake.wait(1.0)
            self._wake.clear()
        self._wake_sign_in.set()
        for one in others:
            one.join(10.0)
        for end in (*self.at_end, *(lanes.stop for lanes in self.lanes)):
            end()

    def _sign_ins(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                while not stop.is_set() and (batch := self.claim(only=SIGN_IN)):
                    for work, fence, done in batch:
                        self.perform(work, fence, done)
            except Exception:
                log.exception("sending sign-in emails failed")
            self._wake_sign_in.wait(1.0)
            self._wake_sign_in.clear()

    def _recurring(self, stop: threading.Event) -> None:
        while not stop.is_set():
            for tick in self.ticks:
                try:
                    if not stop.is_set() and self.take_lease(tick):
                        tick.run()
                except Exception:
                    log.exception("a recurring job failed", job=tick.name)
            stop.wait(1.0)

    def take_lease(self, tick: Tick) -> bool:
        """True when this process runs the job now; the lease then lasts until the job is due again."""
        if monotonic() < self._next_try.get(tick.name, 0.0):
            return False  # we know when it ends: asking sooner costs a writer's lock
        taken = leases.take(self.database, tick.name, self.name, tick.every)
        if taken:
            self._next_try[tick.name] = monotonic() + tick.every.total_seconds()
        return taken

    def claim(self, only: str | None = None) -> list[tuple[Work, int, list[str]]]:
        """Due work of up to BATCH lanes, in turns; of one lane alone where `only` names it."""
        at = clock.wall()
        with self.database.open(everything("lanes with work")) as db:
            lanes = self._lanes(db, at, only)
        if not lanes:
            return []  # the usual case costs no writer's lock
        share = max(1, BATCH // len(lanes))
        rows: list[Outbox] = []
        with self.database.open(everything("claim work"), write=True) as db:
            for lane in lanes:
                query = (select(Outbox).where(Outbox.state == "pending", Outbox.lane == lane, Outbox.due_at <= at)
                         .order_by(Outbox.due_at, Outbox.id).limit(share).with_for_update(skip_locked=True))
                rows += db.scalars(query)
            rows.sort(key=lambda row: (row.due_at, row.id))
            for row in rows:
                row.due_at, row.fence = at + LEASE, row.fence + 1
            return [(_work(row), row.fence, list(row.done)) for row in rows]

    def _lanes(self, db: ScopedSession, at: datetime, only: str | None) -> list[str]:
        """Lanes that have something due, beginning after the one where the last claim ended. The sign-in emails' is always one."""
        first = _with_work(db, at, only=only or SIGN_IN)
        if only is not None:
            return first
        found = _with_work(db, at, after=self._last_lane)
        if len(found) < BATCH:
            found += [lane for lane in _with_work(db, at, after="") if lane not in found]
        found = found[:BATCH]
        if found:
            self._last_lane = found[-1]
        return list(dict.fromkeys((*first, *found)))

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


def _with_work(db: ScopedSession, at: datetime, after: str = "", only: str | None = None) -> list[str]:
    """Lanes with due work, by name. Jumps from lane to lane in the index: what one lane holds costs nothing, however much it is."""
    def pending(lane: Any) -> Any:
        return select(Outbox.id).where(Outbox.state == "pending", Outbox.lane == lane, Outbox.due_at <= at).limit(1)

    if only is not None:
        return [only] if db.scalar(pending(only)) is not None else []
    first = select(func.min(Outbox.lane).label("lane")).where(Outbox.state == "pending", Outbox.lane > after)
    lanes = first.cte("lanes", recursive=True)
    following = select(func.min(Outbox.lane)).where(Outbox.state == "pending", Outbox.lane > lanes.c.lane).scalar_subquery()
    lanes = lanes.union_all(select(following).where(lanes.c.lane.is_not(None)))
    return list(db.scalars(select(lanes.c.lane).where(lanes.c.lane.is_not(None), pending(lanes.c.lane).exists()).limit(BATCH)))
