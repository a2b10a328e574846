"""Measure the duration of statements and the connections in use, for every engine of this process."""

from __future__ import annotations

import time
import weakref
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.pool import QueuePool

from core.metrics.instruments import DATABASE_ERRORS, POOL_IN_USE, POOL_LIMIT, STATEMENT_SECONDS

_watched: weakref.WeakKeyDictionary[Engine, str] = weakref.WeakKeyDictionary()
_databases: set[str] = set()


def watch(engine: Engine, database: str) -> None:
    """Measure an engine. `database`: primary or replica."""
    seconds, errors = STATEMENT_SECONDS.labels(database), DATABASE_ERRORS.labels(database)
    _watched[engine] = database
    _databases.add(database)

    @event.listens_for(engine, "before_cursor_execute")
    def begin(_connection: Any, _cursor: Any, _sql: str, _parameters: Any, context: Any, _many: bool) -> None:
        context._began = time.perf_counter()

    @event.listens_for(engine, "after_cursor_execute")
    def end(_connection: Any, _cursor: Any, _sql: str, _parameters: Any, context: Any, _many: bool) -> None:
        seconds.observe(time.perf_counter() - context._began)

    @event.listens_for(engine, "handle_error")
    def failed(what: Any) -> None:
        error = what.sqlalchemy_exception
        if isinstance(error, OperationalError | InterfaceError) or (isinstance(error, DBAPIError) and error.connection_invalidated):
            errors.inc()

    @event.listens_for(engine, "checkout")
    def taken(_dbapi: Any, _record: Any, _proxy: Any) -> None:
        measure_pools()

    @event.listens_for(engine, "checkin")
    def returned(_dbapi: Any, _record: Any) -> None:
        measure_pools(database)


def forget(engine: Engine) -> None:
    """Stop counting the pool of an engine that this process no longer uses. A fork inherits the engines of its parent."""
    _watched.pop(engine, None)
    measure_pools()


def measure_pools(returned: str = "") -> None:
    """Update the pool gauges. `returned`: the database of a connection being returned, which its pool still counts."""
    used: dict[str, int] = dict.fromkeys(_databases, 0)
    limits: dict[str, int] = dict.fromkeys(_databases, 0)
    for engine, database in list(_watched.items()):
        pool = engine.pool
        if isinstance(pool, QueuePool):
            used[database] = used.get(database, 0) + pool.checkedout()
            limits[database] = limits.get(database, 0) + pool.size() + max(pool._max_overflow, 0)
    for database, limit in limits.items():
        POOL_IN_USE.labels(database).set(max(used[database] - (database == returned), 0))
        POOL_LIMIT.labels(database).set(limit)
