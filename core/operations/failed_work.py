"""Failed work of the outbox, and the operator's actions on it. Sessions have the scope `everything`.

Event data and error messages may hold addresses, so only types, ids and error classes are returned.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from core import clock
from core.db import ScopedSession
from core.errors import N_, Conflict, Invalid, NotFound
from core.handlers import Handlers
from core.operations import audit
from core.operations.jobs import kind_of
from core.operations.queues import OPEN
from core.outbox import Outbox, written_at
from core.outbox_claims import LEASE

SHOWN = 50
AT_ONCE = 500
REASON_LIMIT = 300
STATES = ("given_up", "retrying", "set_aside")


@dataclass(frozen=True)
class FailedWork:
    """`state`: `given_up`, `retrying` (at `due_at`) or `set_aside`. `todo`: handlers that have not succeeded."""

    id: str
    type: str
    business_id: str | None
    state: str
    attempts: int
    created_at: datetime
    due_at: datetime
    handler: str
    error: str
    todo: tuple[str, ...]

    @property
    def may_be_running(self) -> bool:
        """Whether a worker may be running it or about to; then no action is allowed."""
        return self.state == "retrying" and self.due_at <= clock.wall() + LEASE


def counts(db: ScopedSession) -> dict[str, int]:
    """Return the number of failed work per state (see FailedWork)."""
    query = select(Outbox.state, func.count(Outbox.id)).where(Outbox.state.in_(("given_up", "set_aside"))).group_by(Outbox.state)
    found = {state: count for state, count in db.execute(query)}
    retrying = db.scalar(select(func.count(Outbox.id)).where(*_which("retrying"))) or 0
    return {"given_up": found.get("given_up", 0), "retrying": retrying, "set_aside": found.get("set_aside", 0)}


def given_up_types(db: ScopedSession) -> list[tuple[str, int]]:
    """Return (event type, number of given-up work), largest first."""
    query = select(Outbox.type, func.count(Outbox.id)).where(Outbox.state == "given_up").group_by(Outbox.type)
    return [(type, count) for type, count in db.execute(query.order_by(func.count(Outbox.id).desc(), Outbox.type).limit(SHOWN))]


def failed(db: ScopedSession, handlers: Handlers, state: str, before: str = "", limit: int = SHOWN) -> list[FailedWork]:
    """Return failed work, newest first. `before`: last id of the previous page."""
    query = select(Outbox).where(*_which(state)).order_by(Outbox.id.desc()).limit(limit)
    return [_failed_work(row, handlers) for row in db.scalars(query.where(Outbox.id < before) if before else query)]


def get_work(db: ScopedSession, handlers: Handlers, id: str) -> FailedWork:
    """Return one failed work. Raises NotFound for work that is done or did not fail."""
    row = db.get(Outbox, id)
    if row is None or _state(row) is None:
        raise NotFound(sentence=N_("This is no longer waiting."))
    return _failed_work(row, handlers)


def try_again(db: ScopedSession, handlers: Handlers, id: str, source: str) -> None:
    """Retry now, with a new series of attempts; finished handlers are not repeated. Raises NotFound, Conflict."""
    _again(_locked(db, handlers, id))
    audit.record(db, "tried_again", id, source)


def try_again_all(db: ScopedSession, type: str, source: str) -> int:
    """Retry all given-up work of a type, at most AT_ONCE. Returns how many."""
    query = select(Outbox).where(Outbox.state == "given_up", Outbox.type == type).order_by(Outbox.id).limit(AT_ONCE).with_for_update()
    rows = list(db.scalars(query))
    for row in rows:
        _again(row)
        audit.record(db, "tried_again", row.id, source)
    return len(rows)


def set_aside(db: ScopedSession, handlers: Handlers, id: str, reason: str, source: str) -> None:
    """Do not retry the work, unless the operator does. Raises NotFound, Conflict, Invalid (reason)."""
    reason = " ".join(reason.split())
    if not reason or len(reason) > REASON_LIMIT:
        raise Invalid(fields={"reason": N_("Enter a reason of one sentence.")})
    if "@" in reason:
        raise Invalid(fields={"reason": N_("Leave out email addresses: the reason is kept and shown here.")})
    row = _locked(db, handlers, id)
    if row.state == "set_aside":
        raise Conflict("ALREADY_SET_ASIDE", N_("This was already set aside."))
    row.state = "set_aside"
    audit.record(db, "set_aside", id, source, reason)


def _again(row: Outbox) -> None:
    row.state = row.state if row.state in OPEN else "pending"
    row.due_at, row.attempts = clock.wall(), 0


def _locked(db: ScopedSession, handlers: Handlers, id: str) -> Outbox:
    row = db.scalar(select(Outbox).where(Outbox.id == id).with_for_update())
    if row is None or _state(row) is None:
        raise NotFound(sentence=N_("This is no longer waiting."))
    if _failed_work(row, handlers).may_be_running:
        raise Conflict("RUNNING", N_("A worker is about to retry this. Check again in two minutes."))
    return row


def _which(state: str) -> tuple[Any, ...]:
    if state == "retrying":
        return Outbox.state.in_(OPEN), Outbox.attempts > 0
    return (Outbox.state == state,)


def _state(row: Outbox) -> str | None:
    if row.state in OPEN:
        return "retrying" if row.attempts else None
    return row.state if row.state in STATES else None


def _failed_work(row: Outbox, handlers: Handlers) -> FailedWork:
    handler, _, problem = (row.error or "").partition(": ")
    names = tuple(dict.fromkeys(name for name, _ in handlers.of(row.type)))
    if handler not in names:
        handler, problem = "", row.error or ""
    return FailedWork(
        row.id,
        row.type,
        row.business_id,
        _state(row) or row.state,
        row.attempts,
        written_at(row.id),
        row.due_at,
        handler,
        kind_of(problem),
        tuple(name for name in names if name not in row.done),
    )
