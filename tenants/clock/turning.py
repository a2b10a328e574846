"""Turning the clock faithfully: stop by stop, and at each stop everything that is due happens before it goes on.

One process steps at a time (a lease in the database), and holds the schedule of the others meanwhile, so that nobody
renews at yesterday's time. If it dies, the next worker goes on to the same goal.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from datetime import datetime, timedelta

from sqlalchemy import or_, select

from billing.passing import hasten, next_stop
from core import clock
from core.outbox import Outbox
from core.scope import everything
from core.shared_clock import SharedClock
from core.web import House
from core.worker import Lease

NAME = "the billing clock"
HOLD, RENEW = timedelta(seconds=20), 5.0
PATIENCE = 5.0  # seconds that work in other hands may take, before the clock goes on


class Turning:
    def __init__(self, house: House, shared: SharedClock) -> None:
        self.house, self.shared = house, shared
        self._held_at = float("-inf")

    def steps(self) -> Generator[datetime]:
        """Go to the goal; yields every stop after everything due there was done. Ends at once where somebody else steps."""
        if not self._hold():
            return
        try:
            self._settle()
            while (goal := self.shared.read().goal) is not None and self._hold():
                before = clock.now()
                with self.house.database.open(everything("the clock's next stop"), write=True) as db:
                    stop = min(goal, next_stop(db, before))
                    hasten(db, stop - before)
                if not self.shared.step_to(stop):
                    return
                self._settle()
                yield stop
        finally:
            self._let_go()

    def run_for(self, seconds: float) -> None:
        """As far as it gets; the next round goes on."""
        until = time.monotonic() + seconds
        with closing(self.steps()) as stops:
            for _stop in stops:
                if time.monotonic() > until:
                    return

    def _settle(self) -> None:
        """Do what is due, as often as that makes more due; then wait for what other processes hold."""
        while self.house.worker.drain():
            self._hold()
        until = time.monotonic() + PATIENCE
        while self._in_other_hands() and time.monotonic() < until:
            time.sleep(0.05)
            self.house.worker.drain()

    def _in_other_hands(self) -> bool:
        with self.house.database.open(everything("work under way while the clock is turned")) as db:
            first_try = select(Outbox.id).where(Outbox.state == "pending", Outbox.attempts == 0,
                                                or_(Outbox.fence > 0, Outbox.due_at <= clock.wall())).limit(1)
            return db.scalar(first_try) is not None

    def _hold(self) -> bool:
        """Take or renew the lease, and put off the other workers' chores. False: somebody else turns the clock."""
        if time.monotonic() - self._held_at < RENEW:
            return True
        at, mine = clock.wall(), self.house.worker.name
        database = self.house.database
        with database.open(everything("lease of the clock"), write=True) as db:
            for name in (NAME, *sorted(tick.name for tick in self.house.worker.ticks)):
                lease = db.get(Lease, name, with_for_update=not database.is_sqlite)
                if lease is None:
                    db.add(lease := Lease(name=name, holder=mine, until=at))
                if name == NAME and lease.holder != mine and lease.until > at:
                    return False
                lease.holder, lease.until = mine, at + HOLD
        self._held_at = time.monotonic()
        return True

    def _let_go(self) -> None:
        self._held_at = float("-inf")
        with self.house.database.open(everything("lease of the clock"), write=True) as db:
            for lease in db.scalars(select(Lease).where(Lease.holder == self.house.worker.name)):
                lease.until = clock.wall()
