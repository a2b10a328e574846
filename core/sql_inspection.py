"""Find the tables and columns of a SQL statement, for core/guard.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy.orm import ORMExecuteState
from sqlalchemy.sql.elements import ColumnClause, TextClause
from sqlalchemy.sql.selectable import TableClause
from sqlalchemy.sql.visitors import HasTraverseInternals

from core.models import tables_by_kind


@lru_cache(maxsize=1)
def kinds() -> dict[str, Any]:
    return tables_by_kind()


@lru_cache(maxsize=1)
def _owned_names() -> re.Pattern[str]:
    return re.compile(r"(?<!\w)(" + "|".join(sorted(kinds(), key=len, reverse=True)) + r")(?![\w.])", re.IGNORECASE)


@lru_cache(maxsize=4096)
def tables_in(sql: str) -> frozenset[str]:
    """Return the names of mapped tables in the SQL text."""
    return frozenset(name.lower() for name in _owned_names().findall(sql.replace('"', "")))


def columns_set(state: ORMExecuteState) -> set[str]:
    """Return the names of the columns that an UPDATE sets."""
    statement: Any = state.statement
    ordered = getattr(statement, "_ordered_values", None) or ()
    named = [*(statement._values or ()), *(column for column, _ in ordered), *(state.parameters or ())]
    return {getattr(column, "key", column) for column in named}


_walked: WeakKeyDictionary[Any, frozenset[str]] = WeakKeyDictionary()


def loose_tables(compiled: Any) -> frozenset[str]:
    """Return mapped tables that are not part of an entity, so that no criteria apply: Core tables and text in an ORM statement.

    Runs once per compiled statement, which SQLAlchemy caches.
    """
    known = _walked.get(compiled)
    if known is None:
        known = _walked[compiled] = frozenset(_walk(compiled.statement))
    return known


def _walk(statement: Any) -> Iterator[str]:
    todo, seen = [statement], set()
    while todo:
        part = todo.pop()
        notes = getattr(part, "_annotations", ())  # of an entity, or of the key by which get() finds a row
        if id(part) in seen or (part is not statement and ("parententity" in notes or "_orm_adapt" in notes)):
            continue
        seen.add(id(part))
        if isinstance(part, TableClause):
            yield from tables_in(part.name)
        elif isinstance(part, TextClause):
            yield from tables_in(part.text)
        elif isinstance(part, ColumnClause) and part.is_literal:
            yield from tables_in(part.name)
        todo.extend(HasTraverseInternals.get_children(part, omit_attrs=("_correlate", "_correlate_except")))
