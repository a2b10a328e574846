"""One batch of loading: what its rows share, looked up once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import event, select

from billing import totals
from billing.loaded import Record
from billing.parties import Business, Customer
from billing.provenance import FromAccount, Origin
from core import clock
from core.db import ScopedSession
from core.errors import NotFound, ScopeError
from core.outbox import emit
from core.scope import Actor

if TYPE_CHECKING:
    from billing.commands.loading.names import Names

Row = TypeVar("Row")


@dataclass
class Counts:
    new: int = 0
    changed: int = 0
    same: int = 0

    def __iadd__(self, other: Counts) -> Counts:
        self.new, self.changed, self.same = self.new + other.new, self.changed + other.changed, self.same + other.same
        return self


class Batch:
    names: Names

    def __init__(self, db: ScopedSession, origin: Origin, test_mode: bool, actor: Actor | None) -> None:
        business = db.scalar(select(Business))
        if business is None:
            raise NotFound(sentence="There is no such business.")
        self.db, self.origin, self.source, self.test_mode, self.actor = db, origin, origin.system, test_mode, actor
        self.business, self.business_id = business, business.business_id
        self.at = clock.now()
        self._moves: dict[totals.Place, list[int]] = {}

    def found(self, model: type[Row], ids: Iterable[str | None], key: str = "id") -> dict[str, Row]:
        """Rows of this business by their ids."""
        wanted = sorted({one for one in ids if one})
        column = getattr(model, key)
        return {getattr(row, key): row for row in self.db.scalars(select(model).where(column.in_(wanted)))} if wanted else {}

    def write(self, model: Callable[..., Row], one: Record, row: Row | None, **more: Any) -> Row:
        """Add the row, or change what differs in it. `created_at` stays what it was first."""
        values = {**one.values, **more}
        created = values.pop("created_at", None) or self.at
        if row is None:
            key = "customer_id" if one.kind == "customer" else "id"
            row = model(business_id=self.business_id, account_id=self.origin.account_id, created_at=created, **{key: one.id}, **values)
            self.db.add(row)
            return row
        for name, value in values.items():
            if getattr(row, name) != value:
                setattr(row, name, value)
        return row

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """While the batch is written, no row of another account, and none that was made here, is changed. Raises ScopeError."""
        event.listen(self.db, "before_flush", self._check)
        try:
            yield
        finally:
            event.remove(self.db, "before_flush", self._check)

    def _check(self, db: Any, *_: Any) -> None:
        for row in (*db.new, *(one for one in db.dirty if db.is_modified(one)), *db.deleted):
            if not isinstance(row, FromAccount) or row.account_id == self.origin.account_id:
                continue
            if isinstance(row, Customer) and not self.origin.is_mirror:
                continue  # a file may bring the payments of a customer who is here already
            raise ScopeError(f"{type(row).__name__} {row} is not a row of account {self.origin.account_id}")

    def money(self, customer_id: str, currency: str, at: datetime, paid: int = 0, refunded: int = 0) -> None:
        month = at.astimezone(ZoneInfo(self.business.zone)).strftime("%Y-%m")
        sums = self._moves.setdefault((customer_id, month, currency), [0, 0])
        sums[0] += paid
        sums[1] += refunded

    def settle(self) -> None:
        totals.move(self.db, self.business_id, self._moves)

    def told(self, type: str, noun_id: str, customer_id: str, **data: Any) -> None:
        """Leave a line in the history, and nothing in the outbox: whoever collects it writes its letters."""
        emit(self.db, type, business_id=self.business_id, customer_id=customer_id, noun=noun_id, data={"source": self.source, **data},
             actor=self.actor or Actor("system"), silent=True)
