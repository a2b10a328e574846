"""Stores API calls and their answers, so that a repeated call has no second effect (safety 4.6).

A call is a repeat if it has the same `Idempotency-Key`. It is also a repeat if the SDK is retrying (`x-stainless-retry-count` above 0)
and the same API key sent the same body to the same route within ten minutes. The row is written before the work begins, so that a
retry that overtakes the first call waits instead of charging again.
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

from billing.model.parties import Business
from core import clock, recurring_jobs
from core.db import Database, ScopedSession
from core.encryption import Unreadable, seal, unseal
from core.errors import Conflict, Invalid
from core.ids import new_id
from core.models import Base, BusinessOwned
from core.scope import everything
from core.settings import Settings
from tenants.api_keys import Caller

RETRY_WINDOW = timedelta(minutes=10)
KEPT = timedelta(hours=24)
DELETE_BATCH, DELETE_ROUNDS = 500, 40
WAIT_SECONDS = 20.0  # how long a repeat waits for the first call's answer
ATOMIC_CALL_LEASE = timedelta(minutes=1)
"""For calls that store effect and answer in one transaction: without an answer after this time they had no effect."""


class StoredCall(Base, BusinessOwned):
    """A call. `status` is null while it is processed. Then `body` is {"sealed": its JSON answer}, encrypted because some answers are
    secrets, such as a link to the portal."""

    __tablename__ = "idempotency_records"
    __table_args__ = (Index("ix_idempotency_records_request", "business_id", "request", "created_at"),)

    request: Mapped[str]
    status: Mapped[int | None]
    body: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]


@dataclass(frozen=True)
class StoredAnswer:
    status: int
    body: Any  # JSON: an object, a list, or None for an empty answer


@dataclass(frozen=True)
class ReceivedCall:
    """A received call. `idempotency_key`: from the header. `retry`: the retry count of the SDK."""

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


def begin(database: Database, call: ReceivedCall, lease: timedelta = KEPT, repeatable: bool = False) -> str | StoredAnswer:
    """Return the id to `finish` this call with, or the stored answer of the call that it repeats. `repeatable`: see `Database.open`.

    Raises Conflict while the first call has no answer (for at most `lease`), Invalid if the key was used for another request.
    """
    if known := _known(database, call):
        return _wait(database, call, known, lease)
    item = call.named_id if call.idempotency_key else new_id("rep")
    try:
        with database.open(call.caller.scope, write=True, repeatable=repeatable) as db:
            db.add(StoredCall(business_id=call.caller.business_id, id=item, request=call.digest, created_at=clock.wall()))
    except IntegrityError:  # the same Idempotency-Key arrived twice at the same moment
        return _wait(database, call, item, lease)
    return item


def finish(database: Database, call: ReceivedCall, item: str, answer: StoredAnswer) -> None:
    with database.open(call.caller.scope, write=True) as db:
        store_answer(db, database.settings, item, answer)


def store_answer(db: ScopedSession, settings: Settings, item: str, answer: StoredAnswer) -> None:
    """Store the answer in the transaction of the call's effect."""
    row = db.scalar(select(StoredCall).where(StoredCall.id == item))
    if row is not None:
        row.status, row.body = answer.status, {"sealed": seal(settings.secret_keys, _purpose(row), json.dumps(answer.body))}


def forget(database: Database, call: ReceivedCall, item: str, repeatable: bool = False) -> None:
    """Delete a call that had no effect, for example without a payment processor, so that it can be retried."""
    with database.open(call.caller.scope, write=True, repeatable=repeatable) as db:
        db.execute(delete(StoredCall).where(StoredCall.id == item))


def sweep(database: Database) -> int:
    """Delete calls older than 24 hours. Businesses take turns. Return how many were deleted."""
    deleted, at = 0, clock.wall() - KEPT
    for _ in range(DELETE_ROUNDS):
        ids = recurring_jobs.old_rows(
            database,
            Business,
            StoredCall.id,
            StoredCall.business_id == Business.business_id,
            StoredCall.created_at < at,
            limit=DELETE_BATCH,
        )
        if not ids:
            break
        with database.open(everything("delete old calls"), write=True) as db:
            result = db.execute(
                delete(StoredCall).where(StoredCall.id.in_(ids), StoredCall.created_at < at),
                execution_options={"synchronize_session": False},
            )
            deleted += int(result.rowcount)  # type: ignore[attr-defined]
    return deleted


def _known(database: Database, call: ReceivedCall) -> str | None:
    if call.idempotency_key:
        query = select(StoredCall.id).where(StoredCall.id == call.named_id)
    elif call.retry:
        query = select(StoredCall.id).where(StoredCall.request == call.digest, StoredCall.created_at > clock.wall() - RETRY_WINDOW)
    else:
        return None
    with database.open(call.caller.scope) as db:
        return db.scalar(query.order_by(StoredCall.created_at.desc()).limit(1))


def _wait(database: Database, call: ReceivedCall, item: str, lease: timedelta) -> str | StoredAnswer:
    end = time.monotonic() + WAIT_SECONDS
    while True:
        with database.open(call.caller.scope) as db:
            row = db.scalar(select(StoredCall).where(StoredCall.id == item))
        if row is not None and row.request != call.digest:
            raise Invalid("INVALID_REQUEST_PARAMETERS", "This Idempotency-Key was already used for a different request.")
        if row is not None and row.status is not None:
            return StoredAnswer(row.status, _stored_answer(database.settings, row))
        if row is not None and row.created_at < clock.wall() - lease and _take_over(database, call, row):
            return item
        if row is None or time.monotonic() > end:
            raise Conflict("REQUEST_IN_PROGRESS", "The first request is still being processed. Check the payments before you try again.")
        time.sleep(0.1)


def _stored_answer(settings: Settings, row: StoredCall) -> Any:
    """Return the stored answer. Raises Conflict if its encryption key was removed since."""
    try:
        return json.loads(unseal(settings.secret_keys, _purpose(row), (row.body or {})["sealed"]))
    except (KeyError, Unreadable):
        raise Conflict("ANSWER_GONE", "This request was already made, but its response can no longer be read.") from None


def _take_over(database: Database, call: ReceivedCall, seen: StoredCall) -> bool:
    """Take over an abandoned call. Return False if another process did so first."""
    with database.open(call.caller.scope, write=True) as db:
        done = db.execute(
            update(StoredCall)
            .where(StoredCall.id == seen.id, StoredCall.status.is_(None), StoredCall.created_at == seen.created_at)
            .values(created_at=clock.wall()),
            execution_options={"synchronize_session": False},
        )
        return bool(done.rowcount == 1)  # type: ignore[attr-defined]


def _purpose(row: StoredCall) -> str:
    return f"repeated call, {row.business_id}, {row.id}"
