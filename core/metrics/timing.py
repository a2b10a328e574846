"""Measure the duration of statements and the connections in use, for every engine of this process."""

from __future__ import annotations

import os
import threading
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
_lock = threading.RLock()  # garbage collection may return a connection while this thread measures
_used: weakref.WeakKeyDictionary[Engine, int] = weakref.WeakKeyDictionary()  # connections in use
_totals: dict[str, int] = {}  # database → connections in use, of all its engines
_limits: dict[str, int] = {}


def _renew_lock() -> None:
    """Another thread of the parent may have held the lock at the fork, and is not there to release it."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_renew_lock)


def watch(engine: Engine, database: str) -> None:
    """Measure an engine. `database`: primary or replica."""
    seconds, errors = STATEMENT_SECONDS.labels(database), DATABASE_ERRORS.labels(database)
    found = weakref.ref(engine)  # a listener that holds its engine would keep it alive until the next garbage collection
    with _lock:
        _watched[engine] = database
        _databases.add(database)
    measure_pools()

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
        if (engine := found()) is not None:
            _measure(engine)

    @event.listens_for(engine, "checkin")
    def returned(_dbapi: Any, _record: Any) -> None:
        if (engine := found()) is not None:
            _measure(engine, returned=True)


def forget(engine: Engine) -> None:
    """Stop counting the pool of an engine that this process no longer uses. A fork inherits the engines of its parent."""
    with _lock:
        _watched.pop(engine, None)
    measure_pools()


def measure_pools() -> None:
    """Count the connections in use of every pool again, and update the gauges."""
    with _lock:
        _totals.update(dict.fromkeys(_databases, 0))
        _limits.update(dict.fromkeys(_databases, 0))
        _used.clear()
        for engine, database in list(_watched.items()):
            pool = engine.pool
            if isinstance(pool, QueuePool):
                _used[engine] = pool.checkedout()
                _totals[database] += _used[engine]
                _limits[database] += pool.size() + max(pool._max_overflow, 0)
        for database in _databases:
            _show(database)


def _measure(engine: Engine, returned: bool = False) -> None:
    """Update the gauges after a change in one pool. `returned`: a connection is being returned, which the pool still counts."""
    with _lock:
        database, pool = _watched.get(engine), engine.pool
        if database is None or not isinstance(pool, QueuePool):
            return
        used = max(pool.checkedout() - returned, 0)
        _totals[database] += used - _used.get(engine, 0)
        _used[engine] = used
        _show(database)


def _show(database: str) -> None:
    POOL_IN_USE.labels(database).set(max(_totals[database], 0))
    POOL_LIMIT.labels(database).set(_limits[database])
