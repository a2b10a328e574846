"""Turn a Scope into row filters, and refuse every statement without them.

There are three layers (safety §1):

1. ORM criteria: one lambda per kind of table, attached to every ORM statement, including refreshes and relationship loads.
2. Flush and attach checks: rows outside the scope cannot be written or attached.
3. Engine check, before the driver runs a statement. Owned tables need the mark of layer 1, the unit of work, or `everything`,
   and may not occur outside their entity. Reading sessions cannot write. Raw SQL is allowed in `core/` and `migrations/` only.

On PostgreSQL, row-level security checks the same scope again (`core/rls.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from sqlalchemy import String, any_, event, inspect, literal
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import ORMExecuteState, Session, UOWTransaction, with_loader_criteria

from core.errors import ScopeError
from core.models import BusinessOwned, Catalogue, CustomerOwned, PersonOwned, kind_of, mapped
from core.scope import Scope
from core.sql_inspection import columns_set, kinds, loose_tables, tables_in

MARK = "scoped"
_raw_allowed: ContextVar[bool] = ContextVar("raw_allowed", default=False)

# Kinds of table that each kind of scope may use. Every other table raises, even if no row would match.
_READS: dict[str, frozenset[Any]] = {
    "nobody": frozenset(),
    "resolving": frozenset({CustomerOwned, Catalogue, PersonOwned}),
    "person": frozenset({CustomerOwned, Catalogue, PersonOwned}),
    "customer": frozenset({CustomerOwned, Catalogue, PersonOwned}),
    "business": frozenset({CustomerOwned, Catalogue, BusinessOwned}),
}


_OWNERSHIP = frozenset({"business_id", "customer_id", "identity_id"})
_RESOLVING = frozenset({"customers", "businesses", "identities", "identity_emails"})


@contextmanager
def raw_sql() -> Iterator[None]:
    """Allow hand-written SQL in this context. Only `core/` and `migrations/` may use it; a test checks that."""
    token = _raw_allowed.set(True)
    try:
        yield
    finally:
        _raw_allowed.reset(token)


class Guard:
    """The checks of one session."""

    def __init__(self, scope: Scope, write: bool, arrays: bool = False) -> None:
        self.scope = scope
        self.write = write
        self.flushing = False
        self.refresh = object()  # marks the ORM's own load of one row by its key
        self.criteria = tuple(_criteria(scope, arrays))
        self.allowed = _READS.get(scope.kind, frozenset())

    # --- layer 1
    def on_execute(self, state: ORMExecuteState) -> None:
        if self.scope.is_everything:
            return
        if state.is_from_statement:
            raise ScopeError("from_statement() cannot be scoped")
        if state.is_insert or ((state.is_update or state.is_delete) and isinstance(state.parameters, list)):
            raise ScopeError("bulk statements by key cannot be scoped; load the rows, or add() them")
        if state.execution_options.get("dml_strategy", "auto") not in ("auto", "orm"):
            raise ScopeError("dml_strategy goes past the scope")
        if state.is_update and not _OWNERSHIP.isdisjoint(columns_set(state)):
            raise ScopeError("a row keeps its owner")
        if not state.is_orm_statement:
            return  # unmarked: the engine check refuses it if it uses an owned table
        state.update_execution_options(**{MARK: self.refresh if state.is_column_load else self})
        state.statement = state.statement.options(*self.criteria)

    # --- layer 2
    def before_flush(self, session: Session, _context: UOWTransaction, _instances: Any) -> None:
        if not self.write and (session.new or session.deleted or any(session.is_modified(row) for row in session.dirty)):
            raise ScopeError("this session only reads")
        for row in [*session.new, *session.dirty, *session.deleted]:
            self.check_row(row)
        self.flushing = True  # until ScopedSession.flush() returns or raises

    def before_attach(self, _session: Session, row: object) -> None:
        """Refuse rows of other sessions: their owner columns prove nothing, so they must be loaded through this session."""
        if not self.scope.is_everything and inspect(row).key is not None:
            raise ScopeError(f"{type(row).__name__} was loaded elsewhere; load it through this session")

    def check_row(self, row: object) -> None:
        scope, kind = self.scope, kind_of(type(row))
        if scope.is_everything:
            return
        name = type(row).__name__
        if kind is None:
            if not getattr(row, "__open__", None):
                raise ScopeError(f"{name} belongs to nobody; only everything() may touch it")
            return
        if kind is PersonOwned:
            if scope.identity_id is None or row.identity_id != scope.identity_id:  # type: ignore[attr-defined]
                raise ScopeError(f"{name} of another person")
            return
        business_id = row.business_id  # type: ignore[attr-defined]
        if scope.kind == "business":
            if business_id != scope.business:
                raise ScopeError(f"{name} of another business")
        elif kind is not CustomerOwned or (business_id, row.customer_id) not in scope.pairs:  # type: ignore[attr-defined]
            raise ScopeError(f"{name} outside of the scope")

    # --- layer 3
    def check_statement(self, tables: frozenset[str], context: Any) -> None:
        if not self.write and (context.isinsert or context.isupdate or context.isdelete):
            raise ScopeError("this session only reads")
        if self.scope.is_everything:
            return
        if context.isinsert or context.isupdate or context.isdelete:
            self.check_target(kinds().get(context.compiled.statement.table.name.lower()))
        mark = context.execution_options.get(MARK)
        for table in tables:
            kind = kinds()[table]
            if kind == "open" or (kind == "insert" and self.flushing):
                continue
            if self.scope.kind == "resolving" and table not in _RESOLVING:
                raise ScopeError(f"{table} may not be read while addresses are resolved")
            if kind not in self.allowed:
                raise ScopeError(f"{table} may not be touched under scope {self.scope.kind!r}")
            if kind is PersonOwned and self.scope.identity_id is None:
                raise ScopeError(f"{table} needs a person")
            if not (mark is self or mark is self.refresh or self.flushing):
                raise ScopeError(f"a statement on {table} went past the scope")
        if mark is self and (loose := loose_tables(context.compiled)):
            raise ScopeError(f"{', '.join(sorted(loose))} beside its entity; name the mapped class instead")

    def check_target(self, kind: Any) -> None:
        """Customers cannot write catalogue rows, and nothing can be written while addresses are resolved."""
        if self.scope.kind == "resolving" or (kind is Catalogue and self.scope.kind != "business"):
            raise ScopeError(f"a {self.scope.kind!r} scope does not write here")


def _criteria(scope: Scope, arrays: bool) -> Iterator[Any]:
    """Yield one lambda per kind, with bound values and no branches (SQLAlchemy traces a lambda once per class).

    `arrays`: the engine accepts a list as one value (PostgreSQL).
    """
    if scope.is_everything:
        return
    identity, addresses = scope.identity_id or "", list(scope.addresses)
    if scope.kind == "resolving":
        customer = mapped("customers")
        yield with_loader_criteria(customer, customer.email_key.in_(addresses), include_aliases=True)
    elif scope.kind == "business":
        business = scope.business or ""
        yield with_loader_criteria(CustomerOwned, lambda cls: cls.business_id == business, include_aliases=True)
        yield with_loader_criteria(BusinessOwned, lambda cls: cls.business_id == business, include_aliases=True)
        yield with_loader_criteria(Catalogue, lambda cls: cls.business_id == business, include_aliases=True)
    elif len(scope.pairs) == 1:
        yield from _of_one(*scope.pairs[0])
    elif arrays:
        yield from _of_arrays(scope)
    else:
        yield from _of_lists(scope)
    yield with_loader_criteria(PersonOwned, lambda cls: cls.identity_id == identity, include_aliases=True)


def _of_one(business: str, customer: str) -> Iterator[Any]:
    """Yield plain equality conditions, so that an index on (business, customer, date) gives the rows in order."""
    yield with_loader_criteria(
        CustomerOwned, lambda cls: (cls.business_id == business) & (cls.customer_id == customer), include_aliases=True
    )
    yield with_loader_criteria(Catalogue, lambda cls: cls.business_id == business, include_aliases=True)


def _of_lists(scope: Scope) -> Iterator[Any]:
    businesses, customers, pairs = scope.business_ids, scope.customer_ids, scope.joined_pairs
    yield with_loader_criteria(
        CustomerOwned, lambda cls: cls.business_id.in_(businesses) & cls.customer_id.in_(customers), include_aliases=True
    )
    if len(businesses) > 1:  # ids are unique only within a business, so the pair must match
        yield with_loader_criteria(CustomerOwned, lambda cls: (cls.business_id + "/" + cls.customer_id).in_(pairs), include_aliases=True)
    yield with_loader_criteria(Catalogue, lambda cls: cls.business_id.in_(businesses), include_aliases=True)


def _of_arrays(scope: Scope) -> Iterator[Any]:
    """Like `_of_lists` for PostgreSQL, with a list as one value: the statement and its plan do not depend on the list's length.

    With one parameter per value, planning took three times as long as reading the rows.
    """
    businesses, customers, pairs = (
        any_(literal(list(ids), ARRAY(String))) for ids in (scope.business_ids, scope.customer_ids, scope.joined_pairs)
    )
    yield with_loader_criteria(
        CustomerOwned, lambda cls: (cls.business_id == businesses) & (cls.customer_id == customers), include_aliases=True
    )
    if len(scope.business_ids) > 1:
        yield with_loader_criteria(CustomerOwned, lambda cls: cls.business_id + "/" + cls.customer_id == pairs, include_aliases=True)
    yield with_loader_criteria(Catalogue, lambda cls: cls.business_id == businesses, include_aliases=True)


def attach(sessions: type[Session]) -> None:
    """Let the guard of each session of this class, `session._guard`, see what it executes, flushes and adds."""

    @event.listens_for(sessions, "do_orm_execute")
    def on_execute(state: ORMExecuteState) -> None:
        state.session._guard.on_execute(state)  # type: ignore[attr-defined]

    @event.listens_for(sessions, "before_flush")
    def before_flush(session: Session, context: UOWTransaction, instances: Any) -> None:
        session._guard.before_flush(session, context, instances)  # type: ignore[attr-defined]

    @event.listens_for(sessions, "before_attach")
    def before_attach(session: Session, row: object) -> None:
        session._guard.before_attach(session, row)  # type: ignore[attr-defined]


def install(engine: Engine) -> None:
    """Install the engine check. Connections outside a session cannot use mapped tables."""

    @event.listens_for(engine, "before_cursor_execute")
    def net(conn: Connection, _cursor: Any, sql: str, _parameters: Any, context: Any, _many: bool) -> None:
        if _raw_allowed.get():
            return
        compiled = getattr(context, "compiled", None)
        if compiled is None or getattr(compiled.statement, "__visit_name__", "") == "textclause":
            raise ScopeError("raw SQL is for core/ and migrations/ only")
        tables = tables_in(sql)
        if not tables:
            return
        guard = conn.info.get("guard")
        if guard is None:
            raise ScopeError("a statement without a scope")
        guard.check_statement(tables, context)
