"""The billing clock of a whole test deployment: one row says how far it is turned, and every process follows it.

A process keeps the shift itself (`core/clock.py`), since a page cannot afford to ask. Workers look at the row once a
round; a serving process without a worker looks before a request, once a second at most. Live mode has no such row.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Mapped, mapped_column

from core import clock
from core.db import Database, ScopedSession
from core.models import Base
from core.scope import everything

EVERY = timedelta(seconds=1)


class TurnedClock(Base):
    """One row, or none where nobody turned anything. `offset_us`: microseconds ahead of real time. While the clock is on
    its way: `goal` is where to (billing time), `left_at` where it was."""

    __tablename__ = "turned_clock"

    id: Mapped[str] = mapped_column(primary_key=True)
    offset_us: Mapped[int]
    goal: Mapped[datetime | None]
    left_at: Mapped[datetime | None]


@dataclass(frozen=True)
class Turned:
    offset: timedelta = timedelta(0)
    goal: datetime | None = None
    left_at: datetime | None = None


class SharedClock:
    def __init__(self, database: Database) -> None:
        self.database = database
        self._seen = timedelta(0)
        self._looked_at: datetime | None = None

    def read(self) -> Turned:
        with self.database.open(everything("read the billing clock")) as db:
            return _turned(db.get(TurnedClock, "this"))

    def follow(self) -> Turned:
        """Take over what the row says. A shift made only within this process (tests, the demo) stays until the row changes."""
        found = self.read()
        self._looked_at = clock.wall()
        self._take(found.offset)
        return found

    def follow_at_times(self) -> None:
        """The same, at most once a second."""
        if self._looked_at is None or clock.wall() - self._looked_at >= EVERY:
            self.follow()

    def head_for(self, goal: datetime | None) -> None:
        """Say where to; whoever steps the clock goes there. None: stay where it is now."""
        with self.database.open(everything("set the billing clock's goal"), write=True) as db:
            row = self._row(db)
            row.goal, row.left_at = goal, clock.now() if goal else None

    def step_to(self, moment: datetime) -> bool:
        """Turn to `moment`, while there is a goal to go to; clears the goal on arrival. False: somebody called it off."""
        with self.database.open(everything("step the billing clock"), write=True) as db:
            row = self._row(db)
            if row.goal is None:
                return False
            shift = moment - clock.wall()
            row.offset_us = shift // timedelta(microseconds=1)
            if moment >= row.goal:
                row.goal = row.left_at = None
        self._take(shift)
        return True

    def reset(self) -> None:
        """Back to real time, at once."""
        with self.database.open(everything("reset the billing clock"), write=True) as db:
            row = self._row(db)
            row.offset_us, row.goal, row.left_at = 0, None, None
        self._take(timedelta(0))
        clock.turn(timedelta(0))

    def _row(self, db: ScopedSession) -> TurnedClock:
        row = db.get(TurnedClock, "this", with_for_update=not self.database.is_sqlite)
        if row is None:
            row = TurnedClock(id="this", offset_us=0, goal=None, left_at=None)
            db.add(row)
        return row

    def _take(self, offset: timedelta) -> None:
        if offset != self._seen:
            self._seen = offset
            clock.turn(offset)


def _turned(row: TurnedClock | None) -> Turned:
    return Turned(timedelta(microseconds=row.offset_us), row.goal, row.left_at) if row else Turned()
