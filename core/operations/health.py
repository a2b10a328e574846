"""Health of the deployment, seen from this process. Nothing here raises, so that the page works during an outage."""

from __future__ import annotations

import platform
import shutil
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib import metadata

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from core import clock, email_log, email_log_queries, guard, health, revisions
from core.mail_server import KnownMailServer
from core.outage import is_outage
from core.scope import everything
from core.services import Services

CLOCK_DIFFERENCE = 2.0  # seconds; a larger difference is reported
LOW_DISK = 0.1
"""The part of a disk that should stay free."""


@dataclass(frozen=True)
class DatabaseHealth:
    """`round_trip_ms` and later fields: None if the database does not answer. `ahead`: seconds that its clock is ahead of ours."""

    engine: str
    troubles: tuple[str, ...]
    round_trip_ms: float | None = None
    version: str = ""
    schema: str = ""
    ahead: float | None = None
    connections: tuple[int, int] | None = None

    @property
    def clocks_agree(self) -> bool:
        return self.ahead is None or abs(self.ahead) <= CLOCK_DIFFERENCE


@dataclass(frozen=True)
class ReplicaHealth:
    """`lag` in seconds; None if it does not answer."""

    is_used: bool
    lag: float | None


@dataclass(frozen=True)
class Disk:
    """Bytes of the disk of PORTAL_DATA_DIR; None if unknown."""

    free: int
    total: int

    @property
    def is_low(self) -> bool:
        return self.free < self.total * LOW_DISK


@dataclass(frozen=True)
class MailHealth:
    """The last emails handed to the mail server. A code is None without an answer.

    `counts`: outcome → emails in the last 24 hours. `asked_at`: when the worker last reached the server.
    """

    is_set: bool
    sent_at: datetime | None = None
    refused_at: datetime | None = None
    refused_code: int | None = None
    deferred_at: datetime | None = None
    deferred_code: int | None = None
    asked_at: datetime | None = None
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def fails(self) -> bool:
        """Whether the last attempt was deferred. A refused email does not mean that the server fails."""
        return self.is_set and self.deferred_at is not None and (self.sent_at is None or self.deferred_at > self.sent_at)


def database(of: Services) -> DatabaseHealth:
    engine = of.database.engine
    name = "PostgreSQL" if engine.dialect.name == "postgresql" else "SQLite"
    try:
        with guard.raw_sql(), engine.connect() as connection:
            began = time.perf_counter()
            connection.exec_driver_sql("SELECT 1").scalar_one()
            took = round((time.perf_counter() - began) * 1000, 1)
            schema = ", ".join(sorted(revisions.of(connection)))
            troubles = tuple(health.checks(of))
            if engine.dialect.name != "postgresql":
                version = str(connection.exec_driver_sql("SELECT sqlite_version()").scalar_one())
                return DatabaseHealth(name, troubles, took, version, schema, 0.0)
            before = clock.wall()
            at = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
            middle = before + (clock.wall() - before) / 2
            version = str(connection.exec_driver_sql("SHOW server_version").scalar_one()).partition(" ")[0]
            pool = engine.pool
            used = (pool.checkedout(), pool.size()) if isinstance(pool, QueuePool) else None
            return DatabaseHealth(name, troubles, took, version, schema, round((at - middle).total_seconds(), 3), used)
    except SQLAlchemyError:
        return DatabaseHealth(name, ("the database does not answer",))


def replica(of: Services) -> ReplicaHealth | None:
    """Return the health of the replica; None without one."""
    found = of.database.replica
    return None if found is None else ReplicaHealth(found.usable(), found.lag)


def disk(of: Services) -> Disk | None:
    try:
        found = shutil.disk_usage(of.settings.data_dir)
    except OSError:
        return None
    return Disk(found.free, found.total)


def mail(of: Services) -> MailHealth | None:
    """Return the health of sending emails; None if the database does not answer."""
    try:
        with of.database.open(everything("read the outcomes of emails")) as db:
            sent, refused = email_log_queries.newest(db, email_log.SENT), email_log_queries.newest(db, email_log.REFUSED)
            deferred = email_log_queries.last_deferred(db)
            server = db.get(KnownMailServer, of.mailer.server.id)
            return MailHealth(
                bool(of.settings.mail_server),
                sent.updated_at if sent else None,
                refused.updated_at if refused else None,
                refused.code if refused else None,
                deferred.deferred_at if deferred else None,
                deferred.code if deferred and deferred.outcome == "deferred" else None,
                server.checked_at if server else None,
                email_log_queries.counts(db, clock.wall() - timedelta(days=1)),
            )
    except SQLAlchemyError as error:
        if not is_outage(error):
            raise
        return None


def versions() -> dict[str, str]:
    """Return the versions of this process by name."""
    return {"Python": platform.python_version(), **{name: metadata.version(name) for name in ("Flask", "SQLAlchemy", "granian")}}
