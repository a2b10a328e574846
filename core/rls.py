"""Row-level security (PostgreSQL): the database checks the scope again, for a role that owns no tables.

Variables are set per transaction (`set_config(…, true)`), because a pooled connection would keep session variables for its next
user. Migrations run `statements()`; each transaction begins with `enter()`.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import text
from sqlalchemy.engine import Connection

from core.errors import ScopeError
from core.guard import raw_sql
from core.models import BusinessOwned, Catalogue, CustomerOwned, PersonOwned
from core.scope import Scope

_SET = text(
    "SELECT set_config('portal.kind', :kind, true), set_config('portal.business', :business, true),"
    " set_config('portal.businesses', :businesses, true), set_config('portal.identity', :identity, true),"
    " set_config('portal.addresses', :addresses, true), set_config('portal.pairs', :pairs, true)"
)


def enter(connection: Connection, scope: Scope) -> None:
    """Set the scope's variables for this transaction. Raises ScopeError for an id that contains a separator."""
    if any("," in item or "\n" in item for item in (*scope.joined_pairs, *scope.business_ids)) or any(
        "\n" in address for address in scope.addresses
    ):
        raise ScopeError("an id or address with a separator in it")
    with raw_sql():
        connection.execute(
            _SET,
            {
                "kind": scope.kind,
                "business": scope.business or "" if scope.kind == "business" else "",
                "businesses": ",".join(scope.business_ids),
                "identity": scope.identity_id or "",
                "addresses": "\n".join(scope.addresses),
                "pairs": ",".join(scope.joined_pairs),
            },
        )


def _var(name: str) -> str:
    return f"NULLIF(current_setting('portal.{name}', true), '')"


def _list(name: str) -> str:
    return f"(SELECT string_to_array({_var(name)}, ','))::text[]"


# Each variable is set only for the kinds of scope that use it, so one comparison is enough. A sub-select is evaluated
# once per statement, not once per row.
_KIND = f"(SELECT {_var('kind')})"
_ALL = f"{_KIND} = 'everything'"
_BUSINESS = f"business_id = (SELECT {_var('business')})"
_MINE = f"business_id || '/' || customer_id = ANY ({_list('pairs')})"
_WINDOW = f"business_id = ANY ({_list('businesses')})"
_PERSON = f"identity_id = (SELECT {_var('identity')})"
_RESOLVE = f"email_key = ANY ((SELECT string_to_array({_var('addresses')}, E'\\n'))::text[])"


def policy(table: str, kind: type | None) -> tuple[str, str]:
    """Return (USING, WITH CHECK) of a table."""
    if kind is CustomerOwned:
        rule = f"{_ALL} OR {_BUSINESS} OR {_MINE}"
        return (f"{rule} OR {_RESOLVE}" if table == "customers" else rule), rule
    if kind is Catalogue:
        resolving = f" OR {_KIND} = 'resolving'" if table == "businesses" else ""
        return f"{_ALL} OR {_WINDOW}{resolving}", f"{_ALL} OR {_BUSINESS}"
    if kind is BusinessOwned:
        return f"{_ALL} OR {_BUSINESS}", f"{_ALL} OR {_BUSINESS}"
    if kind is PersonOwned:
        return f"{_ALL} OR {_PERSON}", f"{_ALL} OR {_PERSON}"
    return _ALL, _ALL


def statements(table: str, kind: type | str | None) -> Iterator[str]:
    """Yield the statements of a migration for a table. Kind "insert": every scope may insert, only `everything` may read."""
    using, check = (_ALL, _ALL) if isinstance(kind, str) else policy(table, kind)
    yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
    yield f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY"
    yield f"DROP POLICY IF EXISTS scope ON {table}"
    yield f"CREATE POLICY scope ON {table} USING ({using}) WITH CHECK ({check})"
    if kind == "insert":
        yield f"DROP POLICY IF EXISTS leave ON {table}"
        yield f"CREATE POLICY leave ON {table} FOR INSERT WITH CHECK (true)"
