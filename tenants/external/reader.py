"""Reads objects of an account, singly or by page, and stores them with everything they refer to.

An account is untrusted input. Objects that cannot be read or written are skipped, logged with the reason and counted; the rest of the
page is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from billing.external.dispatch import record_late_answer
from billing.imports import Counts, load, ours
from billing.model.imported_records import Record, SourceId, source_key
from billing.model.provenance import Origin
from core import clock
from core.db import Database, ScopedSession
from core.errors import Invalid, ScopeError
from core.scope import Actor, system
from core.settings import Settings
from tenants.external.account import ExternalAccount
from tenants.external.read_limits import ReadLimit, Spent
from tenants.external.system import REFERENCE, BillingSystem, CallFailed, Json, ObjectMissing, Resource, with_retries

log = structlog.get_logger()
AT_ONCE = 4  # concurrent requests
REQUESTS, SECONDS = 1500, 3600.0  # limits for one page, with everything that it refers to
DEPTH = 4  # an activation names a key, which names a payment, which names a customer
UNREADABLE = (RecursionError, ValueError, TypeError, AttributeError, OverflowError, KeyError)
"""Exceptions that an answer of an unexpected shape may raise, in the SDK or here."""
UNWRITABLE = (SQLAlchemyError, Invalid, ScopeError, ValueError, OverflowError, TypeError, KeyError)
"""Exceptions that writing an invalid record may raise."""


def _reason(error: BaseException) -> str:
    """Return the reason without the values of the row, which database errors contain."""
    if isinstance(error, Invalid):
        return "; ".join(f"{name}: {message}" for name, message in error.fields.items()) or error.sentence
    return f"{type(error).__name__}: {getattr(error, 'orig', error)}"


@dataclass
class AccountReader:
    """Reads the account of one business. `skipped` counts the objects that could not be read."""

    database: Database
    settings: Settings
    api: Any
    business_id: str
    origin: Origin
    system: BillingSystem
    skipped: int = 0
    wait: Callable[[Callable[[], Any]], Any] = with_retries
    budget: ReadLimit = field(default_factory=lambda: ReadLimit(REQUESTS, SECONDS))
    terms: dict[tuple[str, str], Json | None] = field(default_factory=dict)
    """Objects that many others name and that never change, by (kind, id), so that each is read once."""
    _unavailable: set[str] = field(default_factory=set)

    def records_of(self, resource: Resource, items: Sequence[Any]) -> list[Record]:
        """Return a page of a list as records."""
        return self.system.records(self, resource, items)

    def read_record(self, kind: str, id: str) -> Record | None:
        """Read one object from the account; None if it does not exist or the account returns a different one."""
        found = self.read_records(kind, id)
        return found[-1] if found else None

    def read_records(self, kind: str, id: str) -> list[Record]:
        """Read one object from the account as records, the object itself last. Empty where `read_record` returns None."""
        answer = self.fetch(kind, id)
        found = self.read(kind, answer) if answer is not None else []
        if found and (found[-1].kind, found[-1].id) != (kind, id):
            self.skip("the account returned a different object", [f"{kind}/{id}"])
            return []
        return found

    def keep(
        self, records: Sequence[Record], also: Callable[[ScopedSession], None] = lambda db: None, actor: Actor | None = None
    ) -> Counts:
        """Write records with everything they refer to in one transaction, together with `also`. If that fails, write them one by one."""
        whole = self._complete(list(records))
        try:
            return self._write(whole, also, actor)
        except UNWRITABLE as error:
            log.warning("page write failed", reason=_reason(error), count=len(whole))
        counts = Counts()
        for item in whole:
            try:
                counts += self._write([item], lambda db: None, actor)
            except UNWRITABLE as error:
                self.skip(_reason(error), [item.source_id])
        return counts.__iadd__(self._write([], also, actor))

    def _write(self, records: list[Record], also: Callable[[ScopedSession], None], actor: Actor | None) -> Counts:
        with self.database.open(system(self.business_id), write=True) as db:
            counts = load(db, self.origin, records, renew=True, test_mode=self.settings.is_test, actor=actor)
            record_late_answer(db, self._here(db, [record for record in records if record.kind == "subscription"]))
            account = db.scalar(select(ExternalAccount).where(ExternalAccount.id == self.origin.system))
            if account is not None:
                account.heard_at = clock.wall()
            also(db)
        return counts

    def here(self, record: Record) -> Record | None:
        """Return a stored record with our ids in place of the external ids; None if it could not be stored."""
        with self.database.open(system(self.business_id)) as db:
            found = self._here(db, [record])
        return found[0] if found else None

    def _here(self, db: ScopedSession, records: list[Record]) -> list[Record]:
        try:
            return ours(db, self.origin, self.business_id, records)
        except Invalid:
            return []

    def _complete(self, records: list[Record]) -> list[Record]:
        """Add the missing records that others refer to. Records with references that do not exist are skipped."""
        for _depth in range(DEPTH):
            missing = sorted(self._missing(records))
            if not missing:
                break
            with ThreadPoolExecutor(AT_ONCE) as pool:
                found = list(pool.map(lambda item: self.read_records(*item), missing))
            self._unavailable |= {f"{kind}/{id}" for (kind, id), items in zip(missing, found, strict=True) if not items}
            records = [item for items in found for item in items] + records
        else:
            self._unavailable |= {f"{kind}/{id}" for kind, id in self._missing(records)}
        good, dropped = records, True
        while dropped:  # skipping a record may leave others with missing references
            kept = [item for item in good if not any(f"{ref.kind}/{ref.id}" in self._unavailable for ref in item.references)]
            dropped = len(kept) < len(good)
            self._unavailable |= {item.source_id for item in good if item not in kept and not self._is_stored(item)}
            good = kept
        if len(good) < len(records):
            self.skip(
                "it refers to an object that the account does not have", [record.source_id for record in records if record not in good]
            )
        return good

    def _missing(self, records: list[Record]) -> set[tuple[str, str]]:
        here = {(record.kind, record.id) for record in records}
        named = {(ref.kind, ref.id) for record in records for ref in record.references} - here
        named = {item for item in named if item[0] in self.system.readable and f"{item[0]}/{item[1]}" not in self._unavailable}
        keys = sorted(source_key(self.origin.account_id, *item) for item in named)
        with self.database.open(system(self.business_id)) as db:
            for start in range(0, len(keys), 500):
                known = select(SourceId.kind, SourceId.reference).where(SourceId.id.in_(keys[start : start + 500]), SourceId.digest != "")
                named -= set(db.execute(known).tuples())
        return named

    def _is_stored(self, record: Record) -> bool:
        with self.database.open(system(self.business_id)) as db:
            key = source_key(self.origin.account_id, record.kind, record.id)
            return db.scalar(select(SourceId.id).where(SourceId.id == key, SourceId.digest != "")) is not None

    def known(self, kind: str, references: Sequence[str]) -> set[str]:
        """Return which of these external ids have been stored. None that is not a valid id has."""
        keys = sorted({source_key(self.origin.account_id, kind, item) for item in references if REFERENCE.fullmatch(item)})
        found: set[str] = set()
        with self.database.open(system(self.business_id)) as db:
            for start in range(0, len(keys), 500):
                part = SourceId.id.in_(keys[start : start + 500])
                found |= set(db.scalars(select(SourceId.reference).where(part, SourceId.digest != "")))
        return found

    def fetch(self, kind: str, id: str, *, must_answer: bool = False) -> Json | None:
        """Return an object of the account; None if it has no such object, or an unreadable one.

        `must_answer`: raise CallFailed instead, if the object may exist and could not be read.
        """
        if not REFERENCE.fullmatch(id):
            return None
        try:
            self.budget.take()
            answer: Json = self.wait(lambda: self.system.fetch(self.api, kind, id))
            return answer
        except ObjectMissing:
            return None
        except Spent:
            self.skip("the limit of requests is reached", [f"{kind}/{id}"])
        except UNREADABLE as error:
            self.skip(f"{type(error).__name__}: {error}", [f"{kind}/{id}"])
        if must_answer:
            raise CallFailed(502, "The answer of the account is unreadable.")
        return None

    def read(self, kind: str, data: Json) -> list[Record]:
        """Validate an object of the account; empty if it is not valid."""
        try:
            return self.system.translate(self, kind, data)
        except Invalid as error:
            reason = "; ".join(f"{name}: {message}" for name, message in error.fields.items())
        except UNREADABLE as error:
            reason = type(error).__name__
        self.skip(reason, [f"{kind}/{data.get(f'{kind}_id') or data.get('id')}"[:200]])
        return []

    def skip(self, reason: str, which: list[str]) -> None:
        self.skipped += len(which)
        log.warning("external record skipped", reason=reason[:300], which=which[:10], count=len(which))
