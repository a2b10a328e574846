"""The sandbox's own SQLite database, separate from the portal's. It contains what a provider would store, but no card numbers.

Each call opens one short connection, so that threads and processes can share the file. The sandbox commits separately, so that
a rollback of the portal's transaction undoes nothing here. Times are Unix seconds of real time, not of the billing clock.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.clock import wall
from core.private_files import private_database

BUSY_SECONDS = 30

SCHEMA = """
CREATE TABLE IF NOT EXISTS operations (
  key TEXT PRIMARY KEY, reference TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, parameters TEXT NOT NULL,
  business_id TEXT, customer_id TEXT, amount INTEGER, currency TEXT, state TEXT NOT NULL,
  error_code TEXT, method TEXT REFERENCES methods (reference), challenged INTEGER NOT NULL DEFAULT 0,
  charge_key TEXT, description TEXT, return_url TEXT, due_at REAL, created REAL NOT NULL, settled_at REAL);
CREATE INDEX IF NOT EXISTS operations_processing ON operations (due_at) WHERE state = 'processing';
CREATE INDEX IF NOT EXISTS operations_refunds ON operations (charge_key) WHERE charge_key IS NOT NULL;

CREATE TABLE IF NOT EXISTS pages (
  reference TEXT PRIMARY KEY, key TEXT NOT NULL UNIQUE REFERENCES operations (key), state TEXT NOT NULL,
  kind TEXT NOT NULL, amount INTEGER, currency TEXT, business_id TEXT NOT NULL, customer_id TEXT NOT NULL,
  description TEXT NOT NULL, return_url TEXT NOT NULL, cancel_url TEXT, locale TEXT NOT NULL, prefill TEXT, created REAL NOT NULL);

CREATE TABLE IF NOT EXISTS methods (
  reference TEXT PRIMARY KEY, customer_id TEXT NOT NULL, brand TEXT NOT NULL, last4 TEXT NOT NULL,
  expiry_month INTEGER NOT NULL, expiry_year INTEGER NOT NULL, holder TEXT, country TEXT,
  behaviour TEXT NOT NULL, saved INTEGER NOT NULL, created REAL NOT NULL);

CREATE TABLE IF NOT EXISTS notifications (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, key TEXT NOT NULL, kind TEXT NOT NULL, due_at REAL NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0, remaining INTEGER NOT NULL, deliveries INTEGER NOT NULL DEFAULT 0, created REAL NOT NULL);
CREATE INDEX IF NOT EXISTS notifications_due ON notifications (due_at) WHERE remaining > 0;

CREATE TABLE IF NOT EXISTS journal (
  number INTEGER PRIMARY KEY, at REAL NOT NULL, verb TEXT NOT NULL, key TEXT NOT NULL, business_id TEXT, customer_id TEXT,
  amount INTEGER, currency TEXT, result TEXT NOT NULL, error_code TEXT, card TEXT);

CREATE TABLE IF NOT EXISTS disputes (
  reference TEXT PRIMARY KEY, charge_key TEXT NOT NULL REFERENCES operations (key), amount INTEGER NOT NULL, currency TEXT NOT NULL,
  status TEXT NOT NULL, reason TEXT NOT NULL, answer_by REAL NOT NULL, created REAL NOT NULL);
CREATE INDEX IF NOT EXISTS disputes_charge ON disputes (charge_key);

CREATE TABLE IF NOT EXISTS knobs (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""

COLUMNS = (
    ("operations", "account TEXT NOT NULL DEFAULT ''"),
    ("methods", "account TEXT NOT NULL DEFAULT ''"),
    ("methods", "forgotten INTEGER NOT NULL DEFAULT 0"),
    ("notifications", "reference TEXT NOT NULL DEFAULT ''"),
)
"""Columns that earlier versions did not have. `account`: the payment account; empty for what has none, see `accounts.py`.
`reference`: of the object, if the notification names no key."""


def stamp() -> float:
    """Return the real time in Unix seconds."""
    return wall().timestamp()


class Store:
    """Open connections to the sandbox's database file and create its tables on first use."""

    def __init__(self, path: Path):
        self.path = Path(path)
        private_database(self.path)
        self._create_tables()

    def _create_tables(self) -> None:
        """Create the tables. Retried, because two processes may start at once and switching to WAL ignores the busy time-out."""
        for attempt in range(50):
            try:
                with self.read() as c:
                    c.execute("PRAGMA journal_mode = WAL")
                    c.executescript("BEGIN IMMEDIATE;" + SCHEMA + "COMMIT;")
                with self.write() as c:
                    self._add_columns(c)
                return
            except sqlite3.OperationalError:
                if attempt == 49:
                    raise
                time.sleep(0.05)

    def _add_columns(self, c: sqlite3.Connection) -> None:
        """Add the columns that a file of an earlier version lacks."""
        for table, column in COLUMNS:
            if column.split()[0] not in {row["name"] for row in c.execute(f"PRAGMA table_info({table})")}:
                c.execute(f"ALTER TABLE {table} ADD COLUMN {column}")

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        c = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
        c.row_factory = sqlite3.Row
        try:
            c.execute("PRAGMA synchronous = FULL")
            c.execute("PRAGMA foreign_keys = ON")
            yield c
        finally:
            c.close()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction that takes the write lock at once, so that nothing read in it can change meanwhile."""
        with self.read() as c:
            c.execute("BEGIN IMMEDIATE")
            try:
                yield c
            except BaseException:
                if c.in_transaction:
                    c.execute("ROLLBACK")
                raise
            if c.in_transaction:
                c.execute("COMMIT")
