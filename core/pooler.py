"""Detect a connection pooler in front of PostgreSQL, and check that its settings work with the portal.

A pooler answers the handshake itself, so the process id in BackendKeyData (PostgreSQL documentation 55.7) differs from
`pg_backend_pid()`. Its kind of pooling is tested with separate connections, because poolers do not report it.
Required: a transaction stays on one connection, and prepared statements are kept, or are not used.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import structlog
from sqlalchemy import event
from sqlalchemy.engine import Engine, ExceptionContext

log = structlog.get_logger()

KEPT = 60.0  # seconds that a result is cached
LIMIT = 10.0  # time limit of the test in seconds
ROUNDS = 3
_LOST = frozenset({"26000", "42P05"})  # SQLSTATE: invalid_sql_statement_name, duplicate_prepared_statement
_NOT_IN_STATEMENT_POOLING = "statement pooling mode"  # text of PgBouncer's error for BEGIN

STATEMENTS = (
    "{name} points to a connection pooler that does not keep a transaction on one connection (statement pooling), which does not "
    "work. Set pool_mode = transaction in PgBouncer."
)
PREPARED = (
    "{name} points to a connection pooler that loses prepared statements. Set DATABASE_PREPARE_THRESHOLD=none; or set "
    "max_prepared_statements = 200 in PgBouncer, from version 1.22 on."
)


class Pooler:
    """The check of the connection to one database. `name`: the setting with its URL."""

    def __init__(self, engine: Engine, name: str, prepare_threshold: int | None, connect_timeout: int) -> None:
        self.engine, self.name = engine, name
        self.prepare_threshold, self.connect_timeout = prepare_threshold, connect_timeout
        self.pooled = False
        self._problem, self._until = "", 0.0
        self._lock = threading.Lock()
        if engine.dialect.name == "postgresql":
            event.listen(engine, "handle_error", self._note_error)

    def problem(self) -> str:
        """Return why the pooler does not work and what to set; empty if it works or there is none.

        Tested at most once in KEPT seconds, and after a statement error that a pooler could cause. If the database does not
        answer, the last result is kept.
        """
        if self.engine.dialect.name != "postgresql":
            return ""
        with self._lock:
            if time.monotonic() >= self._until:
                try:
                    found = self._try_out()
                except self.engine.dialect.loaded_dbapi.Error as error:
                    log.debug("connection pooler could not be tested", reason=type(error).__name__)
                else:
                    if found and not self._problem:
                        log.error("connection pooler cannot be used", problem=found)
                    self._problem = found
                    self._until = time.monotonic() + KEPT
            return self._problem

    def _note_error(self, context: ExceptionContext) -> None:
        if getattr(context.original_exception, "sqlstate", None) in _LOST or _NOT_IN_STATEMENT_POOLING in str(context.original_exception):
            self._until = 0.0

    def _try_out(self) -> str:
        with self._connections() as (item, other):
            try:
                stays = self._keeps_a_transaction(item)
            except self.engine.dialect.loaded_dbapi.Error as error:
                if _NOT_IN_STATEMENT_POOLING not in str(error):
                    raise
                stays = False
            if not stays:
                self.pooled = True
                return STATEMENTS.format(name=self.name)
            announced = item.info.backend_pid
            self.pooled = any(self._process(item) != announced for _ in range(2))
            if not self.pooled or self.prepare_threshold is None:
                return ""
            return PREPARED.format(name=self.name) if self._loses_statements((item, other)) else ""

    def _keeps_a_transaction(self, connection: Any) -> bool:
        seen = [
            connection.execute("SELECT pg_backend_pid(), set_config('portal.pooler', 'tried', true)").fetchone()[0],
            *connection.execute("SELECT pg_backend_pid(), current_setting('portal.pooler', true)").fetchone(),
        ]
        connection.commit()
        return bool(seen[0] == seen[1] and seen[2] == "tried")

    def _process(self, connection: Any) -> int:
        (found,) = connection.execute("SELECT pg_backend_pid()").fetchone()
        connection.commit()
        return int(found)

    def _loses_statements(self, connections: tuple[Any, ...]) -> bool:
        """Use prepared statements like the driver, in turns: prepare, use again, drop one, drop all after a rollback.

        All connections use the same statement names. A pooler without support fails because a statement is missing, or because
        its name is taken by the other client.
        """
        try:
            for number, connection in enumerate(connections):
                connection.prepared_max = 2
                connection.execute(f"SELECT 1 -- client {number}", prepare=True)
                connection.commit()
            for round_ in range(ROUNDS):
                for number, connection in enumerate(connections):
                    for value in (1, 2, 3 + round_):  # the third statement makes the driver drop the oldest
                        connection.execute(f"SELECT {value} -- client {number}", prepare=True)
                    if round_ % 2:
                        connection.rollback()
                    else:
                        connection.commit()
        except self.engine.dialect.loaded_dbapi.Error as error:
            if getattr(error, "sqlstate", None) in _LOST:
                return True
            raise
        return False

    @contextmanager
    def _connections(self) -> Iterator[tuple[Any, ...]]:
        """Open two connections outside the pool, closed after LIMIT, because a full pooler lets clients wait for minutes."""
        args, options = self.engine.dialect.create_connect_args(self.engine.url)
        options.update(connect_timeout=self.connect_timeout, prepare_threshold=self.prepare_threshold)
        opened: list[Any] = []

        def cut_off() -> None:
            for connection in opened:
                with suppress(OSError, self.engine.dialect.loaded_dbapi.Error):
                    raw = socket.socket(fileno=connection.fileno())
                    try:
                        raw.shutdown(socket.SHUT_RDWR)
                    finally:
                        raw.detach()  # the driver owns the descriptor

        timer = threading.Timer(LIMIT, cut_off)
        timer.daemon = True
        timer.start()
        try:
            for _ in range(2):
                opened.append(self.engine.dialect.connect(*args, **options))
            yield tuple(opened)
        finally:
            timer.cancel()
            for connection in opened:
                connection.close()
