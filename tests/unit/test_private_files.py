"""Databases and all other files of the portal are accessible only to its user."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from core.db import Database
from core.private_files import private_database, private_folder
from core.settings import Settings
from gateways.sandbox.store import Store
from tests.engines import Sqlite
from tests.serving.server import ROOT, serving


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    """Set a common umask, with which others may read new files."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_database_files_are_0600_in_a_0700_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "var" / "portal.sqlite3"
    database = Database(Settings(database_url=f"sqlite:///{path}", data_dir=path.parent))
    with database.engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        assert raw is not None
        raw.execute("CREATE TABLE t (a)")
        raw.execute("INSERT INTO t VALUES (1)")
        found = {item.name: mode(item) for item in path.parent.iterdir()}
    assert found == {"portal.sqlite3": 0o600, "portal.sqlite3-wal": 0o600, "portal.sqlite3-shm": 0o600}
    assert mode(path.parent) == mode(path.parent.parent) == 0o700
    database.dispose()


def test_the_sandbox_database_is_0600(tmp_path: Path) -> None:
    Store(tmp_path / "new" / "sandbox.sqlite3")
    assert {mode(item) for item in (tmp_path / "new").iterdir()} == {0o600} and mode(tmp_path / "new") == 0o700


def test_permissions_of_existing_files_are_restricted(tmp_path: Path) -> None:
    path = tmp_path / "portal.sqlite3"
    raw = sqlite3.connect(path)
    raw.execute("PRAGMA journal_mode=WAL")
    raw.execute("CREATE TABLE t (a)")
    raw.commit()
    assert mode(path) == 0o644
    private_database(path)
    assert {mode(item) for item in tmp_path.iterdir()} == {0o600}
    raw.close()


@pytest.mark.parametrize(("before", "after"), [(0o755, 0o700), (0o770, 0o700), (0o700, 0o700), (0o1777, 0o1777)])
def test_permissions_of_a_folder_are_restricted_unless_it_is_shared(tmp_path: Path, before: int, after: int) -> None:
    folder = tmp_path / "var"
    folder.mkdir()
    folder.chmod(before)
    private_folder(folder)
    assert mode(folder) == after


def test_everything_that_commands_and_the_server_write_is_private(tmp_path: Path, sqlite: Sqlite) -> None:
    folder = tmp_path / "var"
    env = {**os.environ, "PORTAL_MODE": "test", "PORTAL_DATA_DIR": str(folder), "PORTAL_BASE_URL": "http://127.0.0.1:5000"}
    for name in ("DATABASE_URL", "PORT"):
        env.pop(name, None)
    subprocess.run([sys.executable, "-m", "flask", "--app", "wsgi", "upgrade"], cwd=ROOT, env=env, check=True, capture_output=True)
    folder.chmod(0o755)
    for item in folder.iterdir():
        item.chmod(0o644)
    with serving(tmp_path, {"database_url": f"sqlite:///{folder}/portal-test.sqlite3"}, PORTAL_DATA_DIR=str(folder)):
        made = {item.name: mode(item) for item in folder.iterdir() if item.exists()}  # SQLite removes its shared memory files
    assert {"portal-test.sqlite3", "portal-test.sqlite3-wal", "sandbox.sqlite3"} <= set(made) and set(made.values()) == {0o600}
    assert mode(folder) == 0o700


def test_a_database_in_use_keeps_its_locks(tmp_path: Path) -> None:
    """Closing any descriptor of a file drops all POSIX locks of the process, so an existing database must not be opened as a file."""
    path = tmp_path / "portal.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as mine:
        mine.execute("CREATE TABLE t (x)")
        mine.execute("BEGIN IMMEDIATE")
        private_database(path)
        other = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0.1, isolation_level=None).execute('BEGIN IMMEDIATE')"
        done = subprocess.run([sys.executable, "-c", other, str(path)], capture_output=True, text=True)
        assert "database is locked" in done.stderr
