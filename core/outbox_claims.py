"""Claim outbox rows for this process, under a lease with a fencing number, and store the outcome.

Work is claimed in turns, a few rows of every lane. `renew` extends the leases of claimed work. `begin` checks a lease right
before the work, so that work which another process took over is not done twice.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

import structlog
from sqlalchemy import func, select, update

from core import clock
from core.db import Database, ScopedSession
from core.mail_errors import Deferred, wait_after
from core.outbox import MAIL_PART, SIGN_IN, Outbox
from core.scope import Actor, ActorType, everything

log = structlog.get_logger()

LEASE = timedelta(seconds=120)
BACKOFF = [1, 5, 30, 120, 600, 3600, 3 * 3600, 12 * 3600]  # seconds; after the last: given up
BATCH = 20
OPEN = ("pending", "mail")


@dataclass(frozen=True)
class Work:
    """The argument of a handler. `row_id`: id of the outbox row, if it is not the event's id."""

    id: str
    type: str
    business_id: str | None
    customer_id: str | None
    noun_id: str | None
    actor: Actor
    data: dict[str, Any]
    at: datetime
    row_id: str = ""

    @property
    def row(self) -> str:
        return self.row_id or self.id


Claim = tuple[Work, int, list[str]]
"""The work, the fencing number of its lease, and the names of handlers that are done."""


@dataclass
class HandlingOutcome:
    """The outcome of a run of handlers. `emails`: names of handlers that still have to send an email."""

    error: str | None = None
    emails: tuple[str, ...] = ()
    deferred: Deferred | None = None
    mail_error: str | None = None


class OutboxClaims:
    def __init__(self, database: Database) -> None:
        self.database = database
        self._held: dict[str, int] = {}
        self._lock = threading.Lock()
        self._last: dict[str, str] = {}  # state → the lane where the last claim ended; the next claim begins after it

    def claim(self, state: str = "pending", *, only: str | None = None, without: str = "", most: int = BATCH) -> list[Claim]:
        """Claim due work of up to `most` lanes, in turns; of one lane (`only`), or of all lanes but one (`without`)."""
        at = clock.wall()
        with self.database.open(everything("lanes with work")) as db:
            lanes = self._lanes(db, state, at, only, without, most)
        if not lanes:
            return []  # usual case: no write lock needed
        share = max(1, most // len(lanes))
        rows: list[Outbox] = []
        with self.database.open(everything("claim work"), write=True) as db:
            for lane in lanes:
                query = (
                    select(Outbox)
                    .where(Outbox.state == state, Outbox.lane == lane, Outbox.due_at <= at)
                    .order_by(Outbox.due_at, Outbox.id)
                    .limit(share)
                    .with_for_update(skip_locked=True)
                )
                rows += db.scalars(query)
            rows.sort(key=lambda row: (row.due_at, row.id))
            for row in rows:
                row.due_at, row.fence = at + LEASE, row.fence + 1
            claimed = [(_work(row), row.fence, list(row.done)) for row in rows]
        with self._lock:
            self._held |= {work.row: fence for work, fence, _ in claimed}
        return claimed

    def _lanes(self, db: ScopedSession, state: str, at: datetime, only: str | None, without: str, most: int) -> list[str]:
        """Return lanes with due work, starting after the last claimed one. The lane of sign-in emails always comes first."""
        first = [] if without == SIGN_IN else _with_work(db, state, at, most, only=only or SIGN_IN)
        if only is not None:
            return first
        last = self._last.get(state, "")
        found = _with_work(db, state, at, most, after=last, without=without)
        if len(found) < most:
            found += [lane for lane in _with_work(db, state, at, most, without=without) if lane not in found]
        found = found[:most]
        if found:
            self._last[state] = found[-1]
        return list(dict.fromkeys((*first, *found)))

    def begin(self, work: Work, fence: int) -> bool:
        """Renew the lease right before the work. Returns False if another process has taken the work over."""
        mine = self._extend([(work.row, fence)])
        if not mine:
            self.forget([(work, fence, [])])
        return bool(mine)

    def renew(self) -> None:
        """Renew the leases of all claimed work of this process."""
        with self._lock:
            leases = list(self._held.items())
        if leases:
            self._extend(leases)

    def release(self, claims: Iterable[Claim]) -> None:
        """Release work that was not begun; it is due at once."""
        claims = list(claims)
        self.forget(claims)
        self._extend([(work.row, fence) for work, fence, _ in claims], timedelta(0))

    def forget(self, claims: Iterable[Claim]) -> None:
        """Stop renewing these claims; their leases expire."""
        with self._lock:
            for work, fence, _ in claims:
                if self._held.get(work.row) == fence:
                    del self._held[work.row]

    def _extend(self, leases: list[tuple[str, int]], length: timedelta = LEASE) -> int:
        count = 0
        with self.database.open(everything("renew leases of work"), write=True) as db:
            for row, fence in sorted(leases):
                done = db.execute(
                    update(Outbox)
                    .where(Outbox.id == row, Outbox.fence == fence, Outbox.state.in_(OPEN))
                    .values(due_at=clock.wall() + length),
                    execution_options={"synchronize_session": False},
                )
                count += done.rowcount  # type: ignore[attr-defined]
        return count

    def finish(self, work: Work, fence: int, done: list[str], outcome: HandlingOutcome) -> None:
        self.forget([(work, fence, done)])
        with self.database.open(everything("finish work"), write=True) as db:
            row = db.get(Outbox, work.row)
            if row is None or row.fence != fence or row.state not in OPEN:
                return  # another process took over after the lease expired
            if outcome.error is not None:
                row.done = [*done, *outcome.emails]
                if outcome.emails:  # emails do not wait for the rest of the event
                    _split(db, row, work, outcome)
                _retry(row, outcome.error, timedelta(seconds=BACKOFF[row.attempts]) if row.attempts < len(BACKOFF) else None)
            elif outcome.emails:
                row.done = done
                _queue_emails(row, outcome)
            else:
                row.done, row.state, row.error = done, "done", None


def _queue_emails(row: Outbox, outcome: HandlingOutcome) -> None:
    """Leave the row to the email senders, because only emails are left; after a failure with a delay."""
    if row.state != "mail":
        row.state, row.attempts, row.due_at, row.error, row.fence = "mail", 0, clock.wall(), None, row.fence + 1
    if outcome.mail_error is not None:
        _retry(row, outcome.mail_error, timedelta(seconds=BACKOFF[row.attempts]) if row.attempts < len(BACKOFF) else None)
    elif outcome.deferred is not None:
        _retry(row, f"{type(outcome.deferred).__name__}: {outcome.deferred}"[:500], wait_after(outcome.deferred, row.attempts))


def _retry(row: Outbox, error: str, wait: timedelta | None) -> None:
    row.error, row.fence = error, row.fence + 1  # a late renewal of the old lease then matches no row
    if wait is None:
        row.state = "given_up"
        log.error("work given up", event_id=row.id, event_type=row.type, attempts=row.attempts + 1)
    else:
        row.due_at = clock.wall() + wait
    row.attempts += 1


def _split(db: ScopedSession, row: Outbox, work: Work, outcome: HandlingOutcome) -> None:
    if db.get(Outbox, work.id + MAIL_PART) is not None:
        return
    names = ("type", "lane", "business_id", "customer_id", "noun_id", "actor_type", "actor_id", "data", "at")
    part = Outbox(
        id=work.id + MAIL_PART,
        state="pending",
        due_at=clock.wall(),
        attempts=0,
        fence=0,
        error=None,
        done=[name for name in row.done if name not in outcome.emails],
        **{name: getattr(row, name) for name in names},
    )
    db.add(part)
    _queue_emails(part, outcome)


def _work(row: Outbox) -> Work:
    return Work(
        row.id.removesuffix(MAIL_PART),
        row.type,
        row.business_id,
        row.customer_id,
        row.noun_id,
        Actor(cast(ActorType, row.actor_type), row.actor_id),
        dict(row.data),
        row.at,
        row.id,
    )


def _with_work(
    db: ScopedSession, state: str, at: datetime, most: int, *, after: str = "", only: str | None = None, without: str = ""
) -> list[str]:
    """Return lanes with due work, by name. Skips from lane to lane in the index, so the number of rows per lane does not matter."""

    def pending(lane: Any) -> Any:
        return select(Outbox.id).where(Outbox.state == state, Outbox.lane == lane, Outbox.due_at <= at).limit(1)

    if only is not None:
        return [only] if db.scalar(pending(only)) is not None else []
    first = select(func.min(Outbox.lane).label("lane")).where(Outbox.state == state, Outbox.lane > after)
    lanes = first.cte("lanes", recursive=True)
    following = select(func.min(Outbox.lane)).where(Outbox.state == state, Outbox.lane > lanes.c.lane).scalar_subquery()
    lanes = lanes.union_all(select(following).where(lanes.c.lane.is_not(None)))
    return list(
        db.scalars(
            select(lanes.c.lane).where(lanes.c.lane.is_not(None), lanes.c.lane != without, pending(lanes.c.lane).exists()).limit(most)
        )
    )
