"""Backups of SQLite: a consistent copy while the portal runs, with SQLite's online backup."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from core.backup import manifest
from core.backup.manifest import BadBackup, Manifest
from core.settings import Settings

FILE = "database.sqlite3"
SANDBOX = "sandbox.sqlite3"


def save(settings: Settings, folder: Path) -> Manifest:
    """Copy the database into `folder`, check the copy, and count it. Raises BadBackup."""
    copy(path_of(settings), folder / FILE)
    return count(folder / FILE)


def load(settings: Settings, folder: Path) -> None:
    """Copy the backup to the configured path. Raises BadBackup if a database exists there."""
    target = path_of(settings)
    if target.exists():
        raise BadBackup(f"{target} already exists. Move the file away first.")
    copy(folder / FILE, target)


def count(path: Path) -> Manifest:
    engine = create_engine(f"sqlite:///{path}")
    try:
        with engine.connect() as connection:
            return manifest.take(connection)
    finally:
        engine.dispose()


def copy(source: Path, target: Path) -> None:
    """Make a consistent, private copy of a database in use. Raises BadBackup if the copy is damaged."""
    if not source.is_file():
        raise BadBackup(f"There is no database at {source}.")
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    target.touch(mode=0o600)
    with closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)  # in one step: a backup in steps begins again after every write. Readers block no writers (WAL).
        new.execute("PRAGMA journal_mode=DELETE")  # one file, without a separate log
        problems = [row[0] for row in new.execute("PRAGMA integrity_check(5)") if row[0] != "ok"]
        orphans = new.execute("PRAGMA foreign_key_check").fetchall()
    if problems or orphans:
        target.unlink()
        reason = "; ".join(problems) or f"{len(orphans)} rows point to rows that do not exist"
        raise BadBackup(f"The copy of {source} is damaged: {reason}.")


def path_of(settings: Settings) -> Path:
    return Path(make_url(settings.database_url).database or "")
