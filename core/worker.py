"""The worker: claims due work under a lease, runs its handlers, retries with back-off, and gives up work that keeps failing.

A handler is a function of an event and idempotent by the event's id. The row stores which handlers are done, so that a retry does not
repeat them. Ticks are recurring jobs; a database lease prevents parallel runs. Work is claimed in turns, a few rows of every lane
(core/outbox_claims.py), so a business with many rows delays only itself. Sign-in emails, other emails, other work and recurring jobs have
separate threads; slow network calls run in lanes (core/lanes.py). A slow or unavailable mail server delays only emails.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic

import structlog

from core import job_runs, leases
from core.db import Database
from core.handlers import Handlers, Part
from core.lanes import Lanes
from core.mail_errors import MailServerUnreachable
from core.outbox import MAIL_PART, SIGN_IN
from core.outbox_claims import BATCH, LEASE, Claim, HandlingOutcome, OutboxClaims, Work

log = structlog.get_logger()

SENDERS = 3
"""Threads per process that send sign-in emails, and as many that send other emails."""
RESTS = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
"""Seconds that a sender pauses after the mail server was unreachable once, twice, … in a row."""
HOUSEKEEPING = timedelta(hours=1)
"""Recurring jobs with at least this interval delete old rows."""
LAST_EMAIL = 60.0
"""Seconds that a stopping worker waits for emails that are being sent."""


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
        self.lanes: list[Lanes] = []  # slow network calls, one thread per active business
        self.around: Callable[[], AbstractContextManager[object]] = nullcontext
        self.each_round: list[Callable[[], object]] = []  # run in every worker, unlike ticks
        self.name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self.at_end: list[Callable[[], object]] = []  # called when the worker ends
        self._wake, self._wake_sign_in, self._wake_mail = threading.Event(), threading.Event(), threading.Event()
        self._claims = OutboxClaims(database)
        self._next_try: dict[str, float] = {}  # tick → when to try its lease again

    def wake(self) -> None:
        for item in (self._wake, self._wake_sign_in, self._wake_mail):
            item.set()

    def drain(self, limit: int = 10_000, *, housekeeping: bool = True) -> int:
        """Run every tick and all due work now, including emails and lanes. Returns how many pieces of work ran.

        `housekeeping` False: without ticks that run at most once an hour, which delete old rows by the wall clock.
        """
        for tick in self.ticks:
            if housekeeping or tick.every < HOUSEKEEPING:
                tick.run()
        return self.finish(limit)

    def finish(self, limit: int = 10_000) -> int:
        """Run all due work now, without the recurring jobs. Returns how many pieces of work ran."""
        count = 0
        for _ in range(3):  # lanes may create work, and work may create lanes
            while count < limit and (batch := [*self.claim(), *self.claim("mail")]):
                count += self._work_through(batch, threading.Event(), "all")
            if not sum(lanes.drain() for lanes in self.lanes):
                break
        return count

    def run_forever(self, stop: threading.Event) -> None:
        """Work until `stop`. Then finish current work and release the other claims."""
        ended = threading.Event()
        senders = [
            threading.Thread(target=self._send, args=(stop, only), name=f"worker: {name} {n}", daemon=True)
            for name, only in (("sign-in emails", SIGN_IN), ("emails", ""))
            for n in range(1, SENDERS + 1)
        ]
        recurring = threading.Thread(target=self._recurring, args=(stop,), name="worker: recurring jobs", daemon=True)
        renewing = threading.Thread(target=self._renew, args=(ended,), name="worker: leases", daemon=True)
        for item in (*senders, recurring, renewing):
            item.start()
        while not stop.is_set():
            try:
                for look in self.each_round:
                    look()
                for lanes in self.lanes:
                    lanes.start()
                while not stop.is_set() and (batch := self.claim(without=SIGN_IN)):
                    self._work_through(batch, stop, "work")
            except Exception:
                log.exception("worker round failed")
            self._wake.wait(1.0)
            self._wake.clear()
        self.wake()
        until = monotonic() + LAST_EMAIL
        for item in senders:
            item.join(max(0.1, until - monotonic()))
        recurring.join(10.0)
        ended.set()
        for end in (*self.at_end, *(lanes.stop for lanes in self.lanes)):
            end()

    def _send(self, stop: threading.Event, only: str) -> None:
        """Send emails one by one: of the lane `only`, or of all other lanes. Pauses while the mail server is unreachable."""
        wake, failures = self._wake_sign_in if only else self._wake_mail, 0
        while not stop.is_set():
            try:
                while not stop.is_set() and (batch := self._claim_emails(only)):
                    for claim in batch:
                        if not isinstance(self.perform(*claim, part="all" if only else "emails").deferred, MailServerUnreachable):
                            failures = 0
                            continue
                        log.warning("mail server unreachable", pause=RESTS[min(failures, len(RESTS) - 1)])
                        stop.wait(RESTS[min(failures, len(RESTS) - 1)])
                        failures += 1
            except Exception:
                log.exception("sending emails failed")
            wake.wait(1.0)
            wake.clear()

    def _claim_emails(self, only: str) -> list[Claim]:
        """Claim one email, so that none waits for a busy sender."""
        if not only:
            return self.claim("mail", without=SIGN_IN, most=1)
        return self.claim(only=only, most=1) or self.claim("mail", only=only, most=1)

    def _work_through(self, batch: list[Claim], stop: threading.Event, part: Part) -> int:
        """Return how many ran. When stopping, release the rest."""
        rest = list(batch)
        try:
            while rest and not stop.is_set():
                self.perform(*rest.pop(0), part=part)
        except BaseException:
            self._claims.forget(rest)
            raise
        if rest:
            self._claims.release(rest)
        return len(batch) - len(rest)

    def _renew(self, ended: threading.Event) -> None:
        while not ended.wait(LEASE.total_seconds() / 4):
            try:
                self._claims.renew()
            except Exception:
                log.exception("renewing leases of work failed")

    def _recurring(self, stop: threading.Event) -> None:
        while not stop.is_set():
            for tick in self.ticks:
                try:
                    if not stop.is_set() and self.take_lease(tick):
                        job_runs.run(self.database, tick.name, tick.run)
                except Exception:
                    log.exception("a recurring job failed", job=tick.name)
            stop.wait(1.0)

    def take_lease(self, tick: Tick) -> bool:
        """Return whether this process runs the job now; the lease then lasts until the job is due again."""
        if monotonic() < self._next_try.get(tick.name, 0.0):
            return False  # the end is known; an earlier try would need a write lock
        taken = leases.take(self.database, tick.name, self.name, tick.every)
        if taken:
            self._next_try[tick.name] = monotonic() + tick.every.total_seconds()
        return taken

    def claim(self, state: str = "pending", *, only: str | None = None, without: str = "", most: int = BATCH) -> list[Claim]:
        return self._claims.claim(state, only=only, without=without, most=most)

    def perform(self, work: Work, fence: int, done: list[str], part: Part = "all") -> HandlingOutcome:
        """Run the handlers of one piece of work, unless another process has taken it over."""
        try:
            if not self._claims.begin(work, fence):
                log.warning("work was taken over", event_id=work.id, event_type=work.type)
                return HandlingOutcome()
            with self.around():  # the application context (wsgi.py), for templates and translations
                outcome = self.handlers.run(work, done, "emails" if work.row.endswith(MAIL_PART) else part)
            self._claims.finish(work, fence, done, outcome)
        finally:
            self._claims.forget([(work, fence, done)])
        if outcome.emails and part == "work":
            self._wake_mail.set()
        return outcome
