"""Open database sessions. No other module creates engines or sessions.

`Database.open(scope)` reads; `open(scope, write=True)` writes and commits on a clean exit. SQLite: WAL, foreign keys,
synchronous=FULL, BEGIN IMMEDIATE for writers (a read-then-write fails at once with BUSY_SNAPSHOT otherwise).
PostgreSQL: the scope's variables are set as the transaction begins.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import DisconnectionError, SQLAlchemyError
from sqlalchemy.orm import Session

from core import guard, rls, transaction_retry
from core.disk_space import DiskSpace
from core.metrics import timing
from core.pooler import Pooler
from core.private_files import private_database
from core.replica import CONNECT_TIMEOUT, Replica
from core.scope import Scope
from core.settings import Settings

IDLE = 20.0  # seconds
PRIMARY_CONNECT_TIMEOUT = 10  # seconds


class ScopedSession(Session):
    """A session with one scope for its whole life."""

    repeatable = False

    def __init__(self, scope: Scope, write: bool, engine: Engine, settings: Settings) -> None:
        self.settings = settings
        # PostgreSQL: a reading transaction is READ ONLY for the server as well
        options = engine.execution_options(portal_write=write, postgresql_readonly=not write)
        super().__init__(options, expire_on_commit=False, autoflush=write)
        self._guard = guard.Guard(scope, write, arrays=engine.dialect.name == "postgresql")

    @property
    def scope(self) -> Scope:
        return self._guard.scope

    @property
    def actor(self) -> Any:
        return self.scope.actor

    def close(self) -> None:
        """End a reading transaction with COMMIT. After a ROLLBACK the driver would drop all prepared statements, and planning
        them again costs more than reading."""
        if not self._guard.write and self.in_transaction():
            self.expunge_all()
            with suppress(SQLAlchemyError):  # the connection broke; closing raises nothing more
                self.commit()
        super().close()

    def commit(self) -> None:
        super().commit()
        if self._guard.write and not self.repeatable:
            transaction_retry.note_effect()

    def flush(self, objects: Any = None) -> None:
        try:
            super().flush(objects)
        finally:
            self._guard.flushing = False  # statements are checked again, even after an error


class Database:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engine = _engine(settings.database_url, settings)
        self.replica = Replica(_engine(settings.database_replica_url, settings, replica=True)) if settings.database_replica_url else None
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self.disk_space = DiskSpace(self.engine, settings)
        self.poolers = [Pooler(self.engine, "DATABASE_URL", settings.prepare_threshold, PRIMARY_CONNECT_TIMEOUT)]
        if self.replica is not None:
            self.poolers.append(Pooler(self.replica.engine, "DATABASE_REPLICA_URL", settings.prepare_threshold, CONNECT_TIMEOUT))
        self.engines = (self.engine, self.replica.engine) if self.replica else (self.engine,)
        for engine, database in zip(self.engines, ("primary", "replica"), strict=False):
            timing.watch(engine, database)

    @contextmanager
    def open(self, scope: Scope, write: bool = False, replica: bool = False, repeatable: bool = False) -> Iterator[ScopedSession]:
        """Open a session; commit on a clean exit if `write`.

        `repeatable`: writing the same rows twice is harmless, so a request with it can be run again (core/request_retry.py).
        """
        session = self.session(scope, write, replica)
        session.repeatable = repeatable
        try:
            yield session
            if write:
                session.commit()
        finally:
            session.close()

    def session(self, scope: Scope, write: bool = False, replica: bool = False) -> ScopedSession:
        """Return a session that the caller must end. Only the request's session uses this; use `open` everywhere else.

        `replica`: read from the replica, if there is one that is usable now.
        """
        use = replica and not write and self.replica is not None and self.replica.usable()
        return ScopedSession(scope, write, self.replica.engine if use and self.replica else self.engine, self.settings)

    def replica_of(self, session: ScopedSession | None) -> Replica | None:
        """Return the replica that a session reads from; None for the primary."""
        on_replica = self.replica is not None and session is not None and session.get_bind().engine.url == self.replica.engine.url
        return self.replica if on_replica else None

    def dispose(self) -> None:
        self.engine.dispose()
        if self.replica is not None:
            self.replica.close()
            self.replica.engine.dispose()


guard.attach(ScopedSession)  # once for the class: to listen at every session costs more than to open it


@event.listens_for(ScopedSession, "after_begin")
def _enter(session: Session, _transaction: Any, connection: Connection) -> None:
    item: guard.Guard = session._guard  # type: ignore[attr-defined]
    connection.info["guard"] = item
    if connection.dialect.name == "postgresql":
        rls.enter(connection, item.scope)


def _engine(url: str, settings: Settings, replica: bool = False) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if parsed.database and parsed.database != ":memory:" and not parsed.database.startswith("file:"):
            private_database(Path(parsed.database))
        engine = create_engine(parsed, connect_args={"timeout": 30, "check_same_thread": False}, pool_size=8, max_overflow=16)
        _sqlite(engine)
    else:
        seconds = CONNECT_TIMEOUT if replica else PRIMARY_CONNECT_TIMEOUT
        engine = create_engine(
            parsed,
            pool_size=8,
            max_overflow=8,
            pool_use_lifo=True,
            connect_args={"prepare_threshold": settings.prepare_threshold, "connect_timeout": seconds},
        )
        _ping_when_idle(engine)
    guard.install(engine)

    @event.listens_for(engine, "checkin")
    def forget(dbapi: Any, record: Any) -> None:
        record.info.pop("guard", None)  # the next user of this connection starts without a scope
        if getattr(dbapi, "in_transaction", False):
            dbapi.rollback()  # SQLite: a COMMIT that a foreign key refused leaves its transaction open
        record.info["rested"] = time.monotonic()

    return engine


def _ping_when_idle(engine: Engine) -> None:
    """Ping a connection that was idle before it is used again, because it may be closed. A busy connection is not pinged: a
    request opens three transactions, and a round trip before each would slow every page."""

    @event.listens_for(engine, "checkout")
    def ask(dbapi: Any, record: Any, _proxy: Any) -> None:
        if "rested" not in record.info or time.monotonic() - record.info["rested"] < IDLE:
            return
        try:
            engine.dialect.do_ping(dbapi)
        except engine.dialect.loaded_dbapi.Error as gone:
            raise DisconnectionError() from gone  # the pool opens another one


def _sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def pragmas(dbapi: Any, _record: Any) -> None:
        dbapi.isolation_level = None  # the listener below issues BEGIN
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
            dbapi.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(conn: Connection) -> None:
        with guard.raw_sql():
            conn.exec_driver_sql("BEGIN IMMEDIATE" if conn.get_execution_options().get("portal_write") else "BEGIN")
