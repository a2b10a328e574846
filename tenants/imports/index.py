"""An index of the ids and references in a file, kept on disk during the check, so that memory use does not grow."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from billing.model.imported_records import Record

_TABLES = """
CREATE TABLE ids (kind TEXT, id TEXT, line INTEGER, owner TEXT, minor INTEGER, currency TEXT, PRIMARY KEY (kind, id)) WITHOUT ROWID;
CREATE TABLE refs (line INTEGER, field TEXT, kind TEXT, id TEXT, owner TEXT, minor INTEGER, currency TEXT);
CREATE INDEX named ON refs (kind, id);
"""


@dataclass(frozen=True)
class Named:
    """A reference: `field` of line `line` refers to `kind` `id`.

    `owner`: the customer that the row must belong to, if any. `minor`: the amount of a refund, in minor units.
    """

    line: int
    field: str
    kind: str
    id: str
    owner: str | None
    minor: int | None = None
    currency: str | None = None


class FileIndex:
    def __init__(self) -> None:
        self._file = sqlite3.connect("", isolation_level=None)  # a temporary file, deleted with the connection
        self._file.executescript(_TABLES)
        self._file.execute("PRAGMA journal_mode = OFF")
        self._file.execute("BEGIN")

    def close(self) -> None:
        self._file.close()

    def add(self, record: Record, line: int) -> tuple[str, int] | None:
        """Add a record. Return (field, line) of an earlier record with the same id, license key, reference or invoice number, if any."""
        minor, currency = record.values.get("amount_minor"), record.values.get("currency")
        names = [(record.kind, record.id)]
        names += [("key", str(record.values["key"]))] if record.kind == "license_key" else []
        names += [("reference", str(record.more["reference"]))] if record.more.get("reference") else []
        if number := _number(record):
            names.append(("invoice number", number))
        for kind, id in names:
            row = self._file.execute("SELECT line FROM ids WHERE kind = ? AND id = ?", (kind, id)).fetchone()
            if row is not None:
                return {"key": "key", "reference": "reference", "invoice number": "invoice_id"}.get(kind, "id"), int(row[0])
            owner = record.id if kind == "invoice number" else record.customer_id
            self._file.execute("INSERT INTO ids VALUES (?, ?, ?, ?, ?, ?)", (kind, id, line, owner, minor, currency))
        for ref in record.references:
            owner = record.customer_id if ref.same_customer else None
            self._file.execute("INSERT INTO refs VALUES (?, ?, ?, ?, ?, ?, ?)", (line, ref.field, ref.kind, ref.id, owner, minor, currency))
        return None

    def in_order(self) -> bool:
        """Return whether every record follows the records it refers to, so that one pass can write the file."""
        later = "SELECT 1 FROM refs JOIN ids USING (kind, id) WHERE ids.line > refs.line LIMIT 1"
        return self._file.execute(later).fetchone() is None

    def wrong_owners(self) -> Iterator[Named]:
        """Yield references to rows of another customer in the file."""
        query = "SELECT refs.* FROM refs JOIN ids USING (kind, id) WHERE refs.owner <> ids.owner ORDER BY refs.line"
        yield from (_named(row) for row in self._file.execute(query))

    def invalid_refunds(self) -> Iterator[tuple[int, str]]:
        """Yield (line, reason) of refunds that exceed their payment in this file or have another currency."""
        wrong_currency = (
            "SELECT refs.line, refs.currency, ids.currency FROM refs JOIN ids USING (kind, id) WHERE refs.kind = 'payment'"
            " AND refs.field = 'payment_id' AND refs.currency IS NOT NULL AND refs.currency <> ids.currency ORDER BY 1"
        )
        yield from ((line, f"currency: the payment was made in {right}.") for line, _wrong, right in self._file.execute(wrong_currency))
        too_much = (
            "SELECT max(refs.line), ids.minor, sum(refs.minor) FROM refs JOIN ids USING (kind, id) WHERE refs.kind = 'payment'"
            " AND refs.field = 'payment_id' GROUP BY refs.id HAVING sum(refs.minor) > ids.minor ORDER BY 1"
        )
        yield from (
            (line, f"amount: refunds of {refunded} exceed the payment of {paid}.") for line, paid, refunded in self._file.execute(too_much)
        )

    def unresolved(self, size: int = 500) -> Iterator[list[Named]]:
        """Yield the references to rows that are not in the file, `size` at a time."""
        open_refs = self._file.execute("SELECT refs.* FROM refs LEFT JOIN ids USING (kind, id) WHERE ids.id IS NULL ORDER BY refs.line")
        while part := [_named(row) for row in islice(open_refs, size)]:
            yield part

    def ids(self, size: int = 500) -> Iterator[list[tuple[str, str, int]]]:
        """Yield (kind, id, line) of every id in the file, `size` at a time."""
        rows = self._file.execute("SELECT kind, id, line FROM ids ORDER BY kind, id")
        while part := list(islice(rows, size)):
            yield part

    def numbers(self, size: int = 500) -> Iterator[list[tuple[str, str, int]]]:
        """Yield (number, payment, line) of every invoice in the file, `size` at a time."""
        rows = self._file.execute("SELECT id, owner, line FROM ids WHERE kind = 'invoice number' ORDER BY id")
        while part := list(islice(rows, size)):
            yield part


def _number(record: Record) -> str | None:
    """Return the invoice number of a successful payment with an amount; None for others."""
    is_billed = record.kind == "payment" and record.values["status"] == "succeeded" and record.values["amount_minor"]
    return str(record.more["invoice_id"]) if is_billed and record.more.get("invoice_id") else None


def _named(row: tuple[int, str, str, str, str | None, int | None, str | None]) -> Named:
    return Named(*row)
