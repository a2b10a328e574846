"""Decide when pages may read from the replica: it answers, its lag is small, and it has the visitor's last change.

A thread checks the replica every CHECK_EVERY seconds, so pages do not wait for a replica that is down. If it stops answering
during a page, the connection is closed after PATIENCE seconds and the page is run again on the primary (core/outage.py). After
a change a visitor reads from the primary for STICK seconds. MAX_LAG is smaller, so later reads include the change.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import Any

import structlog
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from core.guard import raw_sql

log = structlog.get_logger()

CHECK_EVERY = 2.0  # seconds
CONNECT_TIMEOUT = 2  # seconds
PATIENCE = 3.0  # seconds for everything that one page reads from the replica
MAX_LAG = 5.0  # seconds
STICK = 10.0  # seconds; more than MAX_LAG + CHECK_EVERY

# Without changes to replay the lag is zero, however old the last change; so is the lag of a primary.
_LAG = (
    "SELECT CASE WHEN NOT pg_is_in_recovery() OR pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0 "
    "ELSE COALESCE(EXTRACT(epoch FROM now() - pg_last_xact_replay_timestamp()), 0) END"
)


class Replica:
    """The health of one replica, seen from this process. `usable()` does not query it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.lag: float | None = None  # seconds; None if it does not answer
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._open: dict[int, tuple[float, Any]] = {}  # connections within a page's transaction, with their deadlines
        event.listen(engine, "begin", self._begun)
        for end in ("commit", "rollback"):
            event.listen(engine, end, self._ended)

    def usable(self) -> bool:
        """Whether pages may read from it now. The first call checks it, within CONNECT_TIMEOUT + PATIENCE seconds."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self.check()
                    self._thread = threading.Thread(target=self._watch, name="replica", daemon=True)
                    self._thread.start()
        return self.lag is not None and self.lag <= MAX_LAG

    def mark_down(self) -> None:
        """Do not use the replica until it answers again, because a page failed to read from it."""
        self.lag = None

    def check(self) -> None:
        try:
            # a standby refuses BEGIN READ WRITE, the default of a connection that a page has used
            with raw_sql(), self.engine.connect().execution_options(postgresql_readonly=True) as connection:
                lag = float(connection.exec_driver_sql(_LAG if connection.dialect.name == "postgresql" else "SELECT 0").scalar_one())
        except SQLAlchemyError as error:
            if self.lag is not None or self._thread is None:
                log.warning("replica unavailable, reading from the primary", reason=type(getattr(error, "orig", error)).__name__)
            self.lag = None
            return
        if (self.lag is None or self.lag > MAX_LAG) != (lag > MAX_LAG):
            log.info("replica lags, reading from the primary" if lag > MAX_LAG else "replica is used", lag=round(lag, 1))
        self.lag = lag

    def close(self) -> None:
        self._stop.set()

    def _watch(self) -> None:
        """Check the replica every CHECK_EVERY seconds, and close connections past their deadline four times as often."""
        checker: threading.Thread | None = None
        checked_at = time.monotonic()
        while not self._stop.wait(CHECK_EVERY / 4):
            self._cut_off()
            if time.monotonic() - checked_at >= CHECK_EVERY and (checker is None or not checker.is_alive()):
                checked_at = time.monotonic()
                checker = threading.Thread(target=self.check, name="replica check", daemon=True)
                checker.start()

    def _cut_off(self) -> None:
        """End transactions older than PATIENCE by closing their sockets. The driver has no time limit, and a suspended server
        keeps its connections open without answering."""
        for key, (until, raw) in list(self._open.items()):
            if time.monotonic() > until and key in self._open:
                self._open.pop(key, None)
                self.mark_down()
                with suppress(OSError, self.engine.dialect.loaded_dbapi.Error):  # a closed connection has no socket
                    item = socket.socket(fileno=raw.fileno())
                    try:
                        item.shutdown(socket.SHUT_RDWR)
                    finally:
                        item.detach()  # the driver owns the descriptor

    def _begun(self, connection: Connection) -> None:
        raw = connection.connection.driver_connection
        self._open[id(raw)] = time.monotonic() + PATIENCE, raw

    def _ended(self, connection: Connection) -> None:
        self._open.pop(id(connection.connection.driver_connection), None)
