"""Backups of PostgreSQL: pg_dump in the snapshot in which the rows are counted.

Row-level security hides rows from the portal's other roles, so their dumps would be incomplete. The role of
`DATABASE_BACKUP_URL` bypasses it. With `row_security = off` the server raises an error instead of hiding rows.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from sqlalchemy import create_engine, inspect
from sqlalchemy.engine import URL, Connection, make_url

from core import schema
from core.backup import manifest
from core.backup.manifest import BadBackup, Manifest
from core.settings import Settings

FILE = "database.dump"
ROLE = "CREATE ROLE portal_backup LOGIN PASSWORD '…' BYPASSRLS; GRANT pg_read_all_data TO portal_backup;"


def save(settings: Settings, folder: Path) -> Manifest:
    """Dump the database into `folder` and count it in the same snapshot. Raises BadBackup."""
    with _reader(settings) as connection:
        found = manifest.take(connection)
        version, server = tool_version("pg_dump"), _server_version(connection)
        if version[0] < server[0]:
            raise BadBackup(
                f"pg_dump is version {_dotted(version)} and the server {_dotted(server)}: pg_dump must not be older. "
                f"Install the client programs of PostgreSQL {server[0]}."
            )
        snapshot = connection.exec_driver_sql("SELECT pg_export_snapshot()").scalar_one()
        (folder / FILE).touch(mode=0o600)
        _run(
            "pg_dump",
            _backup_url(settings),
            "--format=custom",
            f"--snapshot={snapshot}",
            "--no-owner",
            "--no-privileges",
            f"--file={folder / FILE}",
        )
    _check_contents(folder, found)
    return replace(found, versions={"pg_dump": _dotted(version), "server": _dotted(server)})


def load(settings: Settings, folder: Path) -> None:
    """Restore the dump into the configured empty database as its owner, and grant the application's role its rights."""
    engine = create_engine(settings.owner_url)
    try:
        with engine.connect() as connection:
            if tables := inspect(connection).get_table_names():
                raise BadBackup(f"The database has {len(tables)} tables already. A backup is restored to an empty database.")
            version, server = tool_version("pg_restore"), _server_version(connection)
        if version[0] < server[0]:
            raise BadBackup(f"pg_restore is version {_dotted(version)} and the server {_dotted(server)}: pg_restore must not be older.")
        _run(
            "pg_restore",
            make_url(settings.owner_url),
            "--no-owner",
            "--no-privileges",
            "--exit-on-error",
            "--single-transaction",
            str(folder / FILE),
        )
        with engine.begin() as connection:
            schema.grant(connection, settings)
    finally:
        engine.dispose()


def count(settings: Settings) -> Manifest:
    """Create the manifest of the configured database. Raises BadBackup if the role cannot see every row."""
    with _reader(settings) as connection:
        return manifest.take(connection)


@contextmanager
def _reader(settings: Settings) -> Iterator[Connection]:
    """Open a read-only transaction with one snapshot, in which the server raises an error instead of hiding rows."""
    engine = create_engine(_backup_url(settings), isolation_level="REPEATABLE READ")
    try:
        with engine.connect() as connection:
            role = connection.exec_driver_sql("SELECT rolname, rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user").one()
            if not role[1]:
                raise BadBackup(
                    f"The role {role[0]} is subject to row-level security: a backup made with it would lack rows. "
                    f"Set DATABASE_BACKUP_URL to a role that bypasses it: {ROLE}"
                )
            connection.exec_driver_sql("SET LOCAL row_security = off")
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")
            yield connection
    finally:
        engine.dispose()


def _backup_url(settings: Settings) -> URL:
    return make_url(settings.database_backup_url or settings.owner_url)


def _check_contents(folder: Path, found: Manifest) -> None:
    """Check that the dump contains the data of every counted table. Raises BadBackup."""
    listed = _output("pg_restore", "--list", str(folder / FILE))
    has = set(re.findall(r" TABLE DATA public (\S+) ", listed))
    if missing := sorted(set(found.rows) - has):
        raise BadBackup(f"The dump lacks tables: {', '.join(missing)}.")


def tool_version(tool: str) -> tuple[int, ...]:
    """Return the version of a tool: (18, 1) for `pg_dump (PostgreSQL) 18.1`."""
    shown = re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)*)", _output(tool, "--version"))
    if shown is None:
        raise BadBackup(f"The version of {tool} is unknown.")
    return tuple(int(part) for part in shown[1].split("."))


def _server_version(connection: Connection) -> tuple[int, ...]:
    number = int(connection.exec_driver_sql("SHOW server_version_num").scalar_one())
    return number // 10000, number % 10000


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


def _run(tool: str, url: URL, *arguments: str) -> None:
    """Run a client program. The password is passed in the environment, so that process lists do not show it."""
    plain = url.set(drivername="postgresql")
    target = plain.set(password=None).render_as_string(hide_password=False)
    _output(tool, *arguments, f"--dbname={target}", password=plain.password)


def _output(tool: str, *arguments: str, password: str | None = None) -> str:
    path = shutil.which(tool)
    if path is None:
        raise BadBackup(f"{tool} is not installed: it comes with the client programs of PostgreSQL.")
    environ = {**os.environ, **({"PGPASSWORD": password} if password else {})}
    done = subprocess.run([path, *arguments], capture_output=True, text=True, env=environ)  # noqa: S603 - a path and our own arguments
    if done.returncode:
        raise BadBackup(f"{tool} failed: {done.stderr.strip()[-800:]}")
    return done.stdout
