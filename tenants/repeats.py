"""A call that is sent twice has one effect: the second gets the first one's answer (safety 4.6).

A call is taken for a repeat when it carries the same `Idempotency-Key`, or when the SDK says that it is retrying
(`x-stainless-retry-count` above 0) and the same key sent the same body to the same route within ten minutes.
The row is written before the work begins, so that a retry that overtakes its first call waits instead of paying again.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Index, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped

from billing.parties import Business
from core import clock, turns
from core.db import Database, ScopedSession
from core.errors import Conflict, Invalid
from core.ids import new_id
from core.models import Base, BusinessOwned
from core.scope import everything
from core.secrets import Unreadable, seal, unseal
from core.settings import Settings
from tenants.keys import Caller

RETRY_WINDOW = timedelta(minutes=10)
KEPT = timedelta(hours=24)
SWEPT_AT_ONCE, SWEPT_ROUNDS = 500, 40
PATIENCE = 20.0  # seconds a repeat waits for the first call's answer
EFFECTLESS = timedelta(minutes=1)
"""A call whose effect and answer are one transaction: unanswered after this long, it had no effect."""


class Repeat(Base, BusinessOwned):
    """One call. `status` is null while it is being worked on; then `body` is {"sealed": its JSON answer}: some answers are
    secrets (a link into the portal), and what is kept of those is kept sealed."""

    __tablename__ = "api_repeats"
    __table_args__ = (Index("ix_api_repeats_request", "business_id", "request", "created_at"),)

    request: Mapped[str]
    status: Mapped[int | None]
    body: Mapped[dict | None]
    created_at: Mapped[datetime]


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any  # JSON: an object, a list, or None where nothing is said


@dataclass(frozen=True)
class Call:
    """What arrived. `idempotency_key` is the header's; `retry` is the SDK's count."""

    caller: Caller
    route: str
    payload: bytes
    idempotency_key: str
    retry: int

    @property
    def digest(self) -> str:
        return hashlib.sha256(b"\0".join((self.caller.key_id.encode(), self.route.encode(), self.payload))).hexdigest()

    @property
    def named_id(self) -> str:
        named = f"{self.caller.key_id}\0{self.idempotency_key}"
        return "rep_" + hashlib.sha256(named.encode()).hexdigest()[:32]


def begin(database: Database, call: Call, held_for: timedelta = KEPT, repeatable: bool = False) -> str | Answer:
    """The id under which to `finish` this call, or the answer of the one that it repeats. `repeatable`: see `Database.open`.

    Raises Conflict while the first one is still unanswered (for as long as `held_for`), Invalid when its key named another request.
    """
    if known := _known(database, call):
        return _wait(database, call, known, held_for)
    one = call.named_id if call.idempotency_key else new_id("rep")
    try:
        with database.open(call.caller.scope, write=True, repeatable=repeatable) as db:
            db.add(Repeat(business_id=call.caller.business_id, id=one, request=call.digest, created_at=clock.wall()))
    except IntegrityError:  # the same Idempotency-Key arrived twice at the same moment
        return _wait(database, call, one, held_for)
    return one


def finish(database: Database, call: Call, one: str, answer: Answer) -> None:
    with database.open(call.caller.scope, write=True) as db:
        note(db, database.settings, one, answer)


def note(db: ScopedSession, settings: Settings, one: str, answer: Answer) -> None:
    """The answer, in the transaction of what it tells of."""
    row = db.scalar(select(Repeat).where(Repeat.id == one))
    if row is not None:
        row.status, row.body = answer.status, {"sealed": seal(settings.secret_keys, _purpose(row), json.dumps(answer.body))}


def forget(database: Database, call: Call, one: str, repeatable: bool = False) -> None:
    """It could not be begun at all (nobody to take the money, say): the same call may try again."""
    with database.open(call.caller.scope, write=True, repeatable=repeatable) as db:
        db.execute(delete(Repeat).where(Repeat.id == one))


def sweep(database: Database) -> int:
    """Calls of the day before yesterday are forgotten; businesses take turns. Each call would look through all of the day's."""
    swept, at = 0, clock.wall() - KEPT
    for _ in range(SWEPT_ROUNDS):
        ids = turns.old_rows(database, Business, Repeat.id, Repeat.business_id == Business.business_id, Repeat.created_at < at,
                             limit=SWEPT_AT_ONCE)
        if not ids:
            break
        with database.open(everything("old calls go"), write=True) as db:
            gone = db.execute(delete(Repeat).where(Repeat.id.in_(ids), Repeat.created_at < at),
                              execution_options={"synchronize_session": False})
            swept += int(gone.rowcount)  # type: ignore[attr-defined]
    return swept


def _known(database: Database, call: Call) -> str | None:
    if call.idempotency_key:
        query = select(Repeat.id).where(Repeat.id == call.named_id)
    elif call.retry:
        query = select(Repeat.id).where(Repeat.request == call.digest, Repeat.created_at > clock.wall() - RETRY_WINDOW)
    else:
        return None
    with database.open(call.caller.scope) as db:
        return db.scalar(query.order_by(Repeat.created_at.desc()).limit(1))


def _wait(database: Database, call: Call, one: str, held_for: timedelta) -> str | Answer:
    end = time.monotonic() + PATIENCE
    while True:
        with database.open(call.caller.scope) as db:
            row = db.scalar(select(Repeat).where(Repeat.id == one))
        if row is not None and row.request != call.digest:
            raise Invalid("INVALID_REQUEST_PARAMETERS", "This Idempotency-Key was used for another request.")
        if row is not None and row.status is not None:
            return Answer(row.status, _said(database.settings, row))
        if row is not None and row.created_at < clock.wall() - held_for and _take_over(database, call, row):
            return one
        if row is None or time.monotonic() > end:
            raise Conflict("REQUEST_IN_PROGRESS", "The first call of this is not answered yet. Look at the payments before you call again.")
        time.sleep(0.1)


def _said(settings: Settings, row: Repeat) -> Any:
    """Raises Conflict for an answer whose key was taken out of the ring since."""
    try:
        return json.loads(unseal(settings.secret_keys, _purpose(row), (row.body or {})["sealed"]))
    except (KeyError, Unreadable):
        raise Conflict("ANSWER_GONE", "This call was made before; its answer cannot be read any more.") from None


def _take_over(database: Database, call: Call, seen: Repeat) -> bool:
    """Of several that found it forsaken, one does it."""
    with database.open(call.caller.scope, write=True) as db:
        done = db.execute(update(Repeat).where(Repeat.id == seen.id, Repeat.status.is_(None), Repeat.created_at == seen.created_at)
                          .values(created_at=clock.wall()), execution_options={"synchronize_session": False})
        return bool(done.rowcount == 1)  # type: ignore[attr-defined]


def _purpose(row: Repeat) -> str:
    return f"repeated call, {row.business_id}, {row.id}"
