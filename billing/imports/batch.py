"""Holds the data that the records of one import batch share, and writes their rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import event, select

from billing.charging import totals
from billing.model.imported_records import Record
from billing.model.parties import Business, Customer
from billing.model.provenance import FromAccount, Origin
from core import clock
from core.db import ScopedSession
from core.errors import N_, NotFound, ScopeError
from core.outbox import emit
from core.scope import Actor

if TYPE_CHECKING:
    from billing.imports.references import Names

Row = TypeVar("Row")


@dataclass
class Counts:
    new: int = 0
    changed: int = 0
    same: int = 0

    def __iadd__(self, other: Counts) -> Counts:
        self.new, self.changed, self.same = self.new + other.new, self.changed + other.changed, self.same + other.same
        return self


class ImportBatch:
    names: Names

    def __init__(self, db: ScopedSession, origin: Origin, test_mode: bool, actor: Actor | None, can_collect: bool = True) -> None:
        business = db.scalar(select(Business))
        if business is None:
            raise NotFound(sentence=N_("There is no such business."))
        self.db, self.origin, self.source, self.test_mode, self.actor = db, origin, origin.system, test_mode, actor
        self.can_collect = can_collect
        self.business, self.business_id = business, business.business_id
        self.at = clock.now()
        self.postponed: set[str] = set()  # ids here of rows that were not written as the source sent them
        self._moves: dict[totals.MonthKey, list[int]] = {}

    def found(self, model: type[Row], ids: Iterable[str | None], key: str = "id") -> dict[str, Row]:
        """Return rows of this business by their ids."""
        wanted = sorted({row_id for row_id in ids if row_id})
        column = getattr(model, key)
        return {getattr(row, key): row for row in self.db.scalars(select(model).where(column.in_(wanted)))} if wanted else {}

    def write(self, model: Callable[..., Row], record: Record, row: Row | None, **more: Any) -> Row:
        """Add the row, or change the values that differ. `created_at` keeps its first value."""
        values = {**record.values, **more}
        created = values.pop("created_at", None) or self.at
        if row is None:
            key = "customer_id" if record.kind == "customer" else "id"
            row = model(business_id=self.business_id, account_id=self.origin.account_id, created_at=created, **{key: record.id}, **values)
            self.db.add(row)
            return row
        for name, value in values.items():
            if getattr(row, name) != value:
                setattr(row, name, value)
        return row

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Refuse changes to rows of another account, and to rows made here, while the batch is written. Raises ScopeError."""
        event.listen(self.db, "before_flush", self._check)
        try:
            yield
        finally:
            event.remove(self.db, "before_flush", self._check)

    def _check(self, db: Any, *_: Any) -> None:
        for row in (*db.new, *(item for item in db.dirty if db.is_modified(item)), *db.deleted):
            if not isinstance(row, FromAccount) or row.account_id == self.origin.account_id:
                continue
            if isinstance(row, Customer) and not self.origin.is_mirror:
                continue  # a file may contain payments of an existing customer
            raise ScopeError(f"{type(row).__name__} {row} is not a row of account {self.origin.account_id}")

    def add_money(self, customer_id: str, currency: str, at: datetime, paid: int = 0, refunded: int = 0) -> None:
        """Add minor units to the totals, which `settle` writes."""
        month = at.astimezone(ZoneInfo(self.business.zone)).strftime("%Y-%m")
        sums = self._moves.setdefault((customer_id, month, currency), [0, 0])
        sums[0] += paid
        sums[1] += refunded

    def settle(self) -> None:
        """Write the totals and monthly amounts of the batch."""
        totals.add_many(self.db, self.business_id, self._moves)

    def emit_silently(self, type: str, noun_id: str, customer_id: str, **data: Any) -> None:
        """Add an event to the history without emails and webhooks, because the collecting system sends the emails."""
        emit(
            self.db,
            type,
            business_id=self.business_id,
            customer_id=customer_id,
            noun=noun_id,
            data={"source": self.source, **data},
            actor=self.actor or Actor("system"),
            silent=True,
        )
