"""Revisions after 0023 do not rewrite, fill or index a large table under a lock (docs/architecture.md).

The upgrade of an empty PostgreSQL is observed statement by statement. Steps (core/migration_steps.py) are not part of it.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from alembic import command
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Engine

from core import guard, revisions, schema
from core.settings import Settings

SINCE = "0023"
SMALL = frozenset(
    {
        "alembic_version",
        "deployment",
        "external_accounts",
        "job_failures",
        "job_runs",
        "leases",
        "mail_servers",
        "migration_steps",
        "pull_cursors",
        "signing_keys",
    }
)
"""Tables that do not grow with customers."""
HELP = "core/migration_steps.py has steps for it: Fill, Index, NotNull"
_TABLE = r'(?:IF (?:NOT )?EXISTS )?(?:ONLY )?"?(\w+)"?'
_VOLATILE = re.compile(r"now\(\)|clock_timestamp|random|uuid|nextval|\bserial\b|\bidentity\b|generated always", re.IGNORECASE)


def problem(statement: str, created: set[str]) -> str:
    """Return the fault of a revision's statement, or an empty string. Adds tables that it creates to `created`."""
    words = " ".join(statement.split())
    if found := re.match(rf"CREATE TABLE {_TABLE}", words, re.IGNORECASE):
        created.add(found[1].lower())
        return ""
    if found := re.match(rf"CREATE (?:UNIQUE )?INDEX (?!CONCURRENTLY).*? ON {_TABLE}", words, re.IGNORECASE):
        what = "an index without CONCURRENTLY keeps writers waiting"
    elif found := re.match(rf"(?:UPDATE|DELETE FROM|INSERT INTO) {_TABLE}", words, re.IGNORECASE):
        what = "all rows in one statement"
        if words.upper().startswith("INSERT") and not re.search(r"\bSELECT\b", words, re.IGNORECASE):
            return ""
    elif found := re.match(rf"ALTER TABLE {_TABLE} (.*)", words, re.IGNORECASE):
        what = _alteration(found[2])
    else:
        return ""
    table = found[1].lower()
    return f"{table}: {what}; {HELP}" if what and table not in created | SMALL else ""


def _alteration(change: str) -> str:
    upper = change.upper()
    if re.search(r"ALTER (COLUMN )?\S+ (SET DATA )?TYPE ", upper):
        return "another type rewrites the table"
    if "SET NOT NULL" in upper:
        return "SET NOT NULL reads the table under a lock"
    if upper.startswith("ADD CONSTRAINT") and "NOT VALID" not in upper and "USING INDEX" not in upper:
        return "a constraint without NOT VALID reads the table under a lock"
    if upper.startswith("ADD COLUMN"):
        if _VOLATILE.search(change):
            return "a default that differs from row to row rewrites the table"
        if "NOT NULL" in upper and "DEFAULT" not in upper:
            return "a column that is NOT NULL without a default cannot be added to rows that are there"
        if "REFERENCES" in upper or "UNIQUE" in upper:
            return "a constraint reads the table under a lock"
    return ""


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_revisions_hold_no_long_locks(engine: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data_dir=tmp_path, **engine.empty())
    owner = create_engine(settings.owner_url)
    with owner.begin() as connection, guard.raw_sql():
        config = revisions.config()
        config.attributes["connection"] = connection
        command.upgrade(config, SINCE)
    owner.dispose()
    seen: list[str] = []
    watching = [False]
    real = command.upgrade

    def watched(*arguments: Any) -> None:
        watching[0] = True
        try:
            real(*arguments)
        finally:
            watching[0] = False

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if watching[0] and "alembic_version" not in statement:
            seen.append(statement)

    monkeypatch.setattr(schema.command, "upgrade", watched)
    event.listen(Engine, "before_cursor_execute", note)
    try:
        schema.upgrade(settings)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    created: set[str] = set()
    assert any("CREATE TABLE" in item for item in seen), "the revisions were watched"
    assert [bad for item in seen if (bad := problem(item, created))] == []


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("CREATE INDEX ix_a ON payments (a)", "CONCURRENTLY"),
        ("CREATE UNIQUE INDEX ux_a ON public_payments (a)", "CONCURRENTLY"),
        ("CREATE INDEX CONCURRENTLY ix_a ON payments (a)", ""),
        ("CREATE INDEX ix_n ON fresh (a)", ""),
        ("CREATE INDEX ix_n ON leases (a)", ""),
        ("UPDATE payments SET a = 1", "one statement"),
        ("DELETE FROM payments", "one statement"),
        ("INSERT INTO payments (a) SELECT 1", "one statement"),
        ("INSERT INTO payments (a) VALUES (1)", ""),
        ("UPDATE fresh SET a = 1", ""),
        ("ALTER TABLE payments ALTER COLUMN a TYPE BIGINT", "another type"),
        ("ALTER TABLE payments ALTER COLUMN a SET NOT NULL", "SET NOT NULL"),
        ("ALTER TABLE payments ADD CONSTRAINT c CHECK (a > 0)", "NOT VALID"),
        ("ALTER TABLE payments ADD CONSTRAINT c CHECK (a > 0) NOT VALID", ""),
        ("ALTER TABLE payments VALIDATE CONSTRAINT c", ""),
        ("ALTER TABLE payments ADD COLUMN a BIGINT", ""),
        ("ALTER TABLE payments ADD COLUMN a BIGINT DEFAULT '0' NOT NULL", ""),
        ("ALTER TABLE payments ADD COLUMN a BIGINT NOT NULL", "cannot be added"),
        ("ALTER TABLE payments ADD COLUMN a UUID DEFAULT gen_random_uuid()", "differs from row to row"),
        ("ALTER TABLE payments DROP COLUMN a", ""),
    ],
)
def test_the_rules_find_violations(statement: str, word: str) -> None:
    found = problem(statement, {"fresh"})
    assert word in found if word else not found
    assert problem("CREATE TABLE next (a BIGINT)", created := {"fresh"}) == "" and created == {"fresh", "next"}
