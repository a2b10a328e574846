"""Move the billing clock step by step. At each stop, everything that is due runs before the clock moves on.

Only one process moves the clock at a time (a lease in the database). It also takes the leases of the recurring jobs, so that
no other process renews at an outdated time. If the process dies, the next worker continues to the same goal.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from datetime import datetime, timedelta

from sqlalchemy import or_, select

from billing.renewals.time_travel import bring_checks_forward, next_stop
from core import clock
from core.leases import Lease
from core.outbox import Outbox
from core.scope import everything
from core.services import Services
from core.shared_clock import SharedClock

NAME = "the billing clock"
HOLD, RENEW = timedelta(seconds=20), 5.0
PATIENCE = 5.0  # seconds to wait for work in other processes before the clock moves on


class Turning:
    def __init__(self, services: Services, shared: SharedClock) -> None:
        self.services, self.shared = services, shared
        self._held_at = float("-inf")

    def steps(self) -> Generator[datetime]:
        """Move to the goal. Yield each stop after everything due there is done. Stop at once if another process moves the clock."""
        if not self._hold():
            return
        try:
            self._settle()
            while (goal := self.shared.read().goal) is not None and self._hold():
                before = clock.now()
                with self.services.database.open(everything("the clock's next stop"), write=True) as db:
                    stop = min(goal, next_stop(db, before))
                    bring_checks_forward(db, stop - before)
                if not self.shared.step_to(stop):
                    return
                self._settle()
                yield stop
        finally:
            self._release()

    def run_for(self, seconds: float) -> None:
        """Move the clock for at most `seconds`. The next call continues."""
        until = time.monotonic() + seconds
        with closing(self.steps()) as stops:
            for _stop in stops:
                if time.monotonic() > until:
                    return

    def _settle(self) -> None:
        """Run due work until none is left, then wait for work that other processes have claimed. Old rows are deleted by real time."""
        while self.services.worker.drain(housekeeping=False):
            self._hold()
        until = time.monotonic() + PATIENCE
        while self._is_claimed_by_another() and time.monotonic() < until:
            time.sleep(0.05)
            self.services.worker.drain(housekeeping=False)

    def _is_claimed_by_another(self) -> bool:
        with self.services.database.open(everything("work under way while the clock is turned")) as db:
            first_try = (
                select(Outbox.id)
                .where(Outbox.state.in_(("pending", "mail")), Outbox.attempts == 0, or_(Outbox.fence > 0, Outbox.due_at <= clock.wall()))
                .limit(1)
            )
            return db.scalar(first_try) is not None

    def _hold(self) -> bool:
        """Take or renew the leases of the clock and of the recurring jobs. Return False if another process moves the clock."""
        if time.monotonic() - self._held_at < RENEW:
            return True
        at, mine = clock.wall(), self.services.worker.name
        database = self.services.database
        with database.open(everything("lease of the clock"), write=True) as db:
            for name in (NAME, *sorted(tick.name for tick in self.services.worker.ticks)):
                lease = db.get(Lease, name, with_for_update=not database.is_sqlite)
                if lease is None:
                    db.add(lease := Lease(name=name, holder=mine, until=at))
                if name == NAME and lease.holder != mine and lease.until > at:
                    return False
                lease.holder, lease.until = mine, at + HOLD
        self._held_at = time.monotonic()
        return True

    def _release(self) -> None:
        self._held_at = float("-inf")
        with self.services.database.open(everything("lease of the clock"), write=True) as db:
            for lease in db.scalars(select(Lease).where(Lease.holder == self.services.worker.name)):
                lease.until = clock.wall()
