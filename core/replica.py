"""When a page may read from the replica: it answers, its lag is small, and the reader's own last change is in it.

A thread asks the replica every CHECK_EVERY seconds, so that no page waits to learn that it is away. A page that began to read when
it fell silent is cut off after PATIENCE seconds and made again from the primary (core/outage.py). Whoever changed something reads
from the primary for STICK seconds; with MAX_LAG below that, what they read afterwards holds their change.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import Any

import structlog
from prometheus_client import Gauge
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

# Nothing left to replay is no lag, however old the last change; a server that is no standby has none.
_LAG = ("SELECT CASE WHEN NOT pg_is_in_recovery() OR pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0 "
        "ELSE COALESCE(EXTRACT(epoch FROM now() - pg_last_xact_replay_timestamp()), 0) END")


class Replica:
    """The health of one replica, as this process sees it. `usable()` costs nothing."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.lag: float | None = None  # seconds; None: it does not answer
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._open: dict[int, tuple[float, Any]] = {}  # connections within a page's transaction → until when
        event.listen(engine, "begin", self._begun)
        for end in ("commit", "rollback"):
            event.listen(engine, end, self._ended)

    def usable(self) -> bool:
        """True where pages may read from it now. The first call in a process asks it, at most CONNECT_TIMEOUT + PATIENCE."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self.check()
                    self._thread = threading.Thread(target=self._watch, name="replica", daemon=True)
                    self._thread.start()
        return self.lag is not None and self.lag <= MAX_LAG

    def mark_down(self) -> None:
        """It failed while a page was reading: nobody else reads from it until it answers again."""
        self.lag = None

    def check(self) -> None:
        try:
            # a standby refuses BEGIN READ WRITE, which a connection that a page has used would send otherwise
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
        """Cut off what waits too long, four times as often as the replica is asked."""
        asker: threading.Thread | None = None
        asked = time.monotonic()
        while not self._stop.wait(CHECK_EVERY / 4):
            self._cut_off()
            if time.monotonic() - asked >= CHECK_EVERY and (asker is None or not asker.is_alive()):
                asked = time.monotonic()
                asker = threading.Thread(target=self.check, name="replica check", daemon=True)
                asker.start()

    def _cut_off(self) -> None:
        """End transactions older than PATIENCE by closing their sockets. The driver has no time limit of its own: a server that is
        suspended keeps its connections open and says nothing."""
        for key, (until, raw) in list(self._open.items()):
            if time.monotonic() > until and key in self._open:
                self._open.pop(key, None)
                self.mark_down()
                with suppress(OSError, self.engine.dialect.loaded_dbapi.Error):  # one that ended already has no socket
                    one = socket.socket(fileno=raw.fileno())
                    try:
                        one.shutdown(socket.SHUT_RDWR)
                    finally:
                        one.detach()  # the driver owns the descriptor

    def _begun(self, connection: Connection) -> None:
        raw = connection.connection.driver_connection
        self._open[id(raw)] = time.monotonic() + PATIENCE, raw

    def _ended(self, connection: Connection) -> None:
        self._open.pop(id(connection.connection.driver_connection), None)


def measure(replica: Replica | None, up: Gauge, lag: Gauge) -> None:
    """Write its health into two gauges; nothing without a replica."""
    if replica is not None:
        up.set(1 if replica.usable() else 0)
        lag.set(replica.lag if replica.lag is not None else float("nan"))
