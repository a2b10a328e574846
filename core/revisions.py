"""The schema revision of this version, and the one of a database."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import inspect
from sqlalchemy.engine import Connection

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
UPGRADE = "run `flask --app wsgi upgrade`"


def config() -> Config:
    made = Config()
    made.set_main_option("script_location", str(MIGRATIONS))
    return made


@lru_cache(maxsize=1)
def newest() -> frozenset[str]:
    """Return the newest revision of migrations/; a test checks that there is only one."""
    return frozenset(ScriptDirectory.from_config(config()).get_heads())


@lru_cache(maxsize=1)
def known() -> frozenset[str]:
    """Return every revision that this version can migrate from."""
    return frozenset(walk_revision.revision for walk_revision in ScriptDirectory.from_config(config()).walk_revisions())


def of(connection: Connection) -> frozenset[str]:
    """Return the revisions of a database; empty for a new one. Runs hand-written SQL: call it within `raw_sql()`."""
    if not inspect(connection).has_table("alembic_version"):
        return frozenset()
    return frozenset(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars())


def problem(found: frozenset[str]) -> str:
    """Return why this version cannot serve a database at these revisions and what to do; empty if it can."""
    if not found:
        return f"The database has no tables yet: {UPGRADE} first."
    if found == newest():
        return ""
    names = ", ".join(sorted(found))
    if not found <= known():
        return (
            f"The database was upgraded by a newer version of the portal (schema {names}), which this version cannot serve. "
            "Start the newer version, or restore a backup that was made before the upgrade."
        )
    return f"The database is at schema {names} and this version needs {', '.join(sorted(newest()))}: {UPGRADE}."
