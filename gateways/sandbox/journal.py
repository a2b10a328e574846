"""The sandbox journal: requests and results for people to read. It contains no URLs, secrets or card numbers."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime

from core.money import Money
from gateways.sandbox.store import stamp

PAGE = 50


@dataclass(frozen=True)
class JournalLine:
    """`verb`: collect, try, challenge, leave, charge, refund, settle, dispute, cancel or notify. `result`: a state, delivered or failed."""

    number: int
    at: datetime
    verb: str
    key: str
    business_id: str | None
    customer_id: str | None
    amount: Money | None
    result: str
    error_code: str | None
    card: str | None


def write(
    c: sqlite3.Connection, verb: str, operation: sqlite3.Row, result: str, *, error_code: str | None = None, card: str | None = None
) -> None:
    c.execute(
        "INSERT INTO journal (at, verb, key, business_id, customer_id, amount, currency, result, error_code, card)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (stamp(), verb, operation["key"], operation["business_id"], operation["customer_id"], operation["amount"],
         operation["currency"], result, error_code, card),
    )  # fmt: skip


def read(c: sqlite3.Connection, before: int | None) -> tuple[list[JournalLine], int | None]:
    """Return a page of lines, newest first, and the `before` number of the next page (None at the end)."""
    rows = c.execute("SELECT * FROM journal WHERE number < ? ORDER BY number DESC LIMIT ?", (before or 2**62, PAGE + 1)).fetchall()
    lines = [
        JournalLine(r["number"], datetime.fromtimestamp(r["at"], UTC), r["verb"], r["key"], r["business_id"], r["customer_id"],
             None if r["amount"] is None else Money(r["amount"], r["currency"]), r["result"], r["error_code"], r["card"])
        for r in rows[:PAGE]
    ]  # fmt: skip
    return lines, lines[-1].number if len(rows) > PAGE else None
