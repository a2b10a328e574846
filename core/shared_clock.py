"""Share the billing clock of a test deployment: one row holds its offset, and every process follows it.

Each process caches the offset (`core/clock.py`), so that pages need no query. A worker reads the row once per round; a serving
process without a worker reads it before a request, at most once a second. Live mode has no such row.
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
    """One row, or none if the clock was never moved. `offset_us`: microseconds ahead of real time.

    While the clock is moving, `goal` is the target and `left_at` the start (both billing time).
    """

    __tablename__ = "shared_clock"

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
        """Apply the row's offset. An offset set only in this process (tests, the demo) stays until the row changes."""
        found = self.read()
        self._looked_at = clock.wall()
        self._take(found.offset)
        return found

    def follow_at_times(self) -> None:
        """Like `follow`, at most once a second."""
        if self._looked_at is None or clock.wall() - self._looked_at >= EVERY:
            self.follow()

    def head_for(self, goal: datetime | None) -> None:
        """Set the target time of the clock. None: stop at the present billing time."""
        with self.database.open(everything("set the billing clock's goal"), write=True) as db:
            row = self._row(db)
            row.goal, row.left_at = goal, clock.now() if goal else None

    def step_to(self, moment: datetime) -> bool:
        """Move the clock to `moment` if there is a goal; clear the goal when it is reached. Returns False if it was cancelled."""
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
        """Return to real time immediately."""
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
