"""Tell errors of an unavailable database from errors of a wrong statement."""

from __future__ import annotations

import re
import sqlite3

from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

_POOLER = ("26000", "42P05")  # SQLSTATE: a connection pooler lost a prepared statement; /readyz says what to set
_CONFLICTS = "40"  # SQLSTATE class: two transactions conflicted
_SQLITE_FAULT = re.compile(r"no such|syntax error|has no column|no tables specified")  # SQLite has one error for these and for a full disk


def is_outage(error: BaseException | None) -> bool:
    """True where the database is unavailable: connection refused or broken, no answer, disk full, no free connection, locked."""
    if isinstance(error, PoolTimeout | DisconnectionError | InterfaceError):
        return True
    if isinstance(error, OperationalError):
        if isinstance(error.orig, sqlite3.OperationalError) and _SQLITE_FAULT.search(str(error.orig)):
            return False
        return not str(getattr(error.orig, "sqlstate", None) or "").startswith(_CONFLICTS)
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _POOLER
