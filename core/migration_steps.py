"""Steps of a migration that run after its revision is committed: small transactions, resumable, beside readers and writers.

A revision lists them as `steps` (docs/architecture.md, "Writing a migration"):

    steps = (Fill("began_at", "job_failures", ("business_id", "id"), fill), NotNull("began_at set", "job_failures", "began_at"))

`flask upgrade` commits the revision, runs its steps in order, and continues. Progress is stored in `migration_steps` in the same
transaction as the work, so that an interrupted upgrade continues where it stopped. A version serves only after all steps ran.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import insert, inspect, select, text, update
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Mapped, mapped_column

from core import clock
from core.models import Base

LOCK_TIMEOUT = "2s"
TRIES = 30
"""Attempts for one small transaction that is blocked by a lock."""
PAUSE = 0.5
"""Pause after a batch, as a multiple of its duration, so that other work can continue."""
_TRANSIENT = ("55P03", "40P01", "40001")  # lock not available, deadlock, serialization failure
Say = Callable[[str], object]


class MigrationStep(Base):
    """Progress of a step. `after`: key of the last row of a `FillStep` as JSON. `rows`: number of changed rows."""

    __tablename__ = "migration_steps"

    id: Mapped[str] = mapped_column(primary_key=True)  # revision/name
    after: Mapped[str | None]
    rows: Mapped[int] = mapped_column(default=0)
    done_at: Mapped[datetime | None]


class Step(Protocol):
    @property
    def name(self) -> str: ...

    def run(self, engine: Engine, id: str, say: Say) -> None: ...


@dataclass(frozen=True)
class RowBatch:
    """The rows of one transaction: `where` is a SQL condition on the table's key, `params` its values."""

    where: str
    params: dict[str, Any]


@dataclass(frozen=True)
class FillStep:
    """Change rows of a table in order of its primary key, `size` rows of it per transaction.

    `change(connection, batch)` returns how many rows it changed; it may run again for the same batch. `report`: message with
    `{rows}`, printed at the end if rows were changed.
    """

    name: str
    table: str
    key: tuple[str, ...]
    change: Callable[[Connection, RowBatch], int]
    report: str = ""
    size: int = 2000

    def run(self, engine: Engine, id: str, say: Say) -> None:
        while True:
            began = time.monotonic()
            if (rows := _small(engine, lambda connection: self._batch(connection, id))) is not None:
                break
            if engine.dialect.name == "postgresql":
                time.sleep(min((time.monotonic() - began) * PAUSE, 1.0))
        if rows and self.report:
            say(self.report.format(rows=rows))

    def _batch(self, connection: Connection, id: str) -> int | None:
        """Change one batch. Returns None while rows are left, then the total of changed rows."""
        after, rows = _state(connection, id)
        keys = ", ".join(self.key)
        low = "" if after is None else f"({keys}) > ({', '.join(f':a{n}' for n in range(len(self.key)))})"
        params = {} if after is None else {f"a{n}": value for n, value in enumerate(after)}
        last = connection.execute(
            text(
                f"SELECT {keys} FROM (SELECT {keys} FROM {self.table}{' WHERE ' + low if low else ''}"  # noqa: S608 - names of ours
                f" ORDER BY {keys} LIMIT {self.size}) part ORDER BY {', '.join(item + ' DESC' for item in self.key)} LIMIT 1"
            ),
            params,
        ).first()
        if last is None:
            _save(connection, id, after, rows, done=True)
            return rows
        high = f"({keys}) <= ({', '.join(f':b{n}' for n in range(len(self.key)))})"
        params |= {f"b{n}": value for n, value in enumerate(last)}
        rows += self.change(connection, RowBatch(f"{low} AND {high}" if low else high, params))
        _save(connection, id, list(last), rows, done=False)
        return None


@dataclass(frozen=True)
class IndexStep:
    """Create an index on a table with rows: CONCURRENTLY on PostgreSQL, without blocking writers. Replaces an invalid index."""

    name: str
    table: str
    columns: tuple[str, ...]
    unique: bool = False
    where: str = ""
    sqlite_where: str = ""  # the condition for SQLite, if it differs

    def run(self, engine: Engine, id: str, say: Say) -> None:
        on_postgresql = engine.dialect.name == "postgresql"
        where = self.where if on_postgresql else self.sqlite_where or self.where
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if on_postgresql:
                connection.exec_driver_sql("SET lock_timeout = 0")  # its lock blocks no other statement
                valid = connection.execute(
                    text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)"), {"name": self.name}
                ).scalar()
                if valid is False:
                    connection.exec_driver_sql(f"DROP INDEX CONCURRENTLY {self.name}")
            connection.exec_driver_sql(
                f"CREATE {'UNIQUE ' if self.unique else ''}INDEX {'CONCURRENTLY ' if on_postgresql else ''}IF NOT EXISTS {self.name}"
                f" ON {self.table} ({', '.join(self.columns)}){' WHERE ' + where if where else ''}"
            )
            if on_postgresql:
                connection.exec_driver_sql("RESET lock_timeout")
        _small(engine, lambda connection: _save(connection, id, None, 0, done=True))


@dataclass(frozen=True)
class NotNullStep:
    """Make a filled column NOT NULL. On PostgreSQL the rows are checked without a blocking lock."""

    name: str
    table: str
    column: str

    def run(self, engine: Engine, id: str, say: Say) -> None:
        if engine.dialect.name == "postgresql":
            name = f"ck_{self.table}_{self.column}_set"
            _small(
                engine,
                lambda connection: [
                    connection.exec_driver_sql(item)
                    for item in (
                        f"ALTER TABLE {self.table} DROP CONSTRAINT IF EXISTS {name}",
                        f"ALTER TABLE {self.table} ADD CONSTRAINT {name} CHECK ({self.column} IS NOT NULL) NOT VALID",
                    )
                ],
            )
            _small(engine, lambda connection: connection.exec_driver_sql(f"ALTER TABLE {self.table} VALIDATE CONSTRAINT {name}"))
            _small(
                engine,
                lambda connection: [
                    connection.exec_driver_sql(item)
                    for item in (
                        f"ALTER TABLE {self.table} ALTER COLUMN {self.column} SET NOT NULL",  # reads no rows: the constraint is valid
                        f"ALTER TABLE {self.table} DROP CONSTRAINT {name}",
                    )
                ],
            )
        else:
            with engine.begin() as connection:
                connection.exec_driver_sql("BEGIN IMMEDIATE")  # the driver does not begin a transaction before DDL
                with Operations(MigrationContext.configure(connection)).batch_alter_table(self.table) as table:
                    table.alter_column(self.column, nullable=False)
        _small(engine, lambda connection: _save(connection, id, None, 0, done=True))


@dataclass(frozen=True)
class DropUniqueStep:
    """Drop a unique constraint after the index that replaces it was created. SQLite rebuilds the table; its triggers are kept."""

    name: str
    table: str
    constraint: str

    def run(self, engine: Engine, id: str, say: Say) -> None:
        if engine.dialect.name == "postgresql":
            statement = f"ALTER TABLE {self.table} DROP CONSTRAINT IF EXISTS {self.constraint}"
            _small(engine, lambda connection: connection.exec_driver_sql(statement))
        else:
            with engine.begin() as connection:
                connection.exec_driver_sql("BEGIN IMMEDIATE")  # the driver does not begin a transaction before DDL
                triggers = "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?"
                kept = list(connection.exec_driver_sql(triggers, (self.table,)).scalars())
                if any(item["name"] == self.constraint for item in inspect(connection).get_unique_constraints(self.table)):
                    with Operations(MigrationContext.configure(connection)).batch_alter_table(self.table) as table:
                        table.drop_constraint(self.constraint, type_="unique")
                    for trigger in kept:
                        connection.exec_driver_sql(trigger)
        _small(engine, lambda connection: _save(connection, id, None, 0, done=True))


def _small(engine: Engine, act: Callable[[Connection], Any]) -> Any:
    """Run a short transaction. It waits at most LOCK_TIMEOUT for a lock and then retries, so that others do not queue behind it."""
    for n in range(1, TRIES + 1):
        try:
            with engine.begin() as connection:
                if connection.dialect.name == "postgresql":
                    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                see_everything(connection)
                return act(connection)
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) not in _TRANSIENT or n == TRIES:
                raise
            time.sleep(min(0.1 * n, 2.0))
    return None


def see_everything(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":  # row-level security also applies to the owner
        connection.exec_driver_sql("SELECT set_config('portal.kind', 'everything', true)")


def _state(connection: Connection, id: str) -> tuple[list[Any] | None, int]:
    row = connection.execute(select(MigrationStep.after, MigrationStep.rows).where(MigrationStep.id == id)).first()
    return (json.loads(row[0]) if row and row[0] else None, row[1] if row else 0)


def _save(connection: Connection, id: str, after: list[Any] | None, rows: int, done: bool) -> None:
    values = {"after": json.dumps(after) if after else None, "rows": rows, "done_at": clock.wall() if done else None}
    if not connection.execute(update(MigrationStep).where(MigrationStep.id == id).values(**values)).rowcount:
        connection.execute(insert(MigrationStep).values(id=id, **values))
