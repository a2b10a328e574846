"""What a file says, by id, kept on disk while it is checked: who is there, who names whom. Memory stays flat."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from billing.loaded import Record

_TABLES = """
CREATE TABLE ids (kind TEXT, id TEXT, line INTEGER, owner TEXT, minor INTEGER, currency TEXT, PRIMARY KEY (kind, id)) WITHOUT ROWID;
CREATE TABLE refs (line INTEGER, field TEXT, kind TEXT, id TEXT, owner TEXT, minor INTEGER, currency TEXT);
CREATE INDEX named ON refs (kind, id);
"""


@dataclass(frozen=True)
class Named:
    """Line `line` names `kind` `id` in `field`; it has to be `owner`'s where that is set. A refund gives `minor` back."""

    line: int
    field: str
    kind: str
    id: str
    owner: str | None
    minor: int | None = None
    currency: str | None = None


class Index:
    def __init__(self) -> None:
        self._file = sqlite3.connect("", isolation_level=None)  # a temporary file of its own, gone with the connection
        self._file.executescript(_TABLES)
        self._file.execute("PRAGMA journal_mode = OFF")
        self._file.execute("BEGIN")

    def close(self) -> None:
        self._file.close()

    def add(self, one: Record, line: int) -> int | None:
        """Note it down. Returns the line that said the same id (or key, or reference) before, if one did."""
        minor, currency = one.values.get("amount_minor"), one.values.get("currency")
        names = [(one.kind, one.id)]
        names += [("key", str(one.values["key"]))] if one.kind == "license_key" else []
        names += [("reference", str(one.more["reference"]))] if one.more.get("reference") else []
        for kind, id in names:
            row = self._file.execute("SELECT line FROM ids WHERE kind = ? AND id = ?", (kind, id)).fetchone()
            if row is not None:
                return int(row[0])
            self._file.execute("INSERT INTO ids VALUES (?, ?, ?, ?, ?, ?)", (kind, id, line, one.customer_id, minor, currency))
        for ref in one.references:
            owner = one.customer_id if ref.same_customer else None
            self._file.execute("INSERT INTO refs VALUES (?, ?, ?, ?, ?, ?, ?)", (line, ref.field, ref.kind, ref.id, owner, minor, currency))
        return None

    def in_order(self) -> bool:
        """Whether everything stands after what it names, so that one reading is enough to write it."""
        later = "SELECT 1 FROM refs JOIN ids USING (kind, id) WHERE ids.line > refs.line LIMIT 1"
        return self._file.execute(later).fetchone() is None

    def strangers(self) -> Iterator[Named]:
        """References to another customer's row within the file."""
        wrong = "SELECT refs.* FROM refs JOIN ids USING (kind, id) WHERE refs.owner <> ids.owner ORDER BY refs.line"
        yield from (_named(row) for row in self._file.execute(wrong))

    def overdrawn(self) -> Iterator[tuple[int, str]]:
        """(line, why) of refunds that do not fit their payment in this file."""
        odd = ("SELECT refs.line, refs.currency, ids.currency FROM refs JOIN ids USING (kind, id) WHERE refs.kind = 'payment'"
               " AND refs.field = 'payment_id' AND refs.currency IS NOT NULL AND refs.currency <> ids.currency ORDER BY 1")
        yield from ((line, f"currency: the payment was made in {right}.") for line, _wrong, right in self._file.execute(odd))
        much = ("SELECT max(refs.line), ids.minor, sum(refs.minor) FROM refs JOIN ids USING (kind, id) WHERE refs.kind = 'payment'"
                " AND refs.field = 'payment_id' GROUP BY refs.id HAVING sum(refs.minor) > ids.minor ORDER BY 1")
        yield from ((line, f"amount: {back} goes back of a payment of {paid}.") for line, paid, back in self._file.execute(much))

    def elsewhere(self, size: int = 500) -> Iterator[list[Named]]:
        """References that the file does not answer, in portions: the database has to."""
        open_ones = self._file.execute(
            "SELECT refs.* FROM refs LEFT JOIN ids USING (kind, id) WHERE ids.id IS NULL ORDER BY refs.line")
        while part := [_named(row) for row in islice(open_ones, size)]:
            yield part

    def ids(self, size: int = 500) -> Iterator[list[tuple[str, str, int]]]:
        """(kind, id, line) of everything in the file, in portions."""
        rows = self._file.execute("SELECT kind, id, line FROM ids ORDER BY kind, id")
        while part := list(islice(rows, size)):
            yield part


def _named(row: tuple[int, str, str, str, str | None, int | None, str | None]) -> Named:
    return Named(*row)
