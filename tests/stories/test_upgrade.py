"""Upgrading a deployment with data from the schema of release 0.1 while locks are held, and refusals of a foreign database."""

from __future__ import annotations

import gzip
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from flask import Flask
from sqlalchemy import create_engine, inspect

from core import cli, guard, migration_runner, revisions, schema
from core.settings import Misconfigured, Settings
from tests.cast import Cast
from tests.harness.rehearse_upgrade import rehearse
from tests.visitor import Visitor

RELEASE = Path(__file__).resolve().parents[1] / "data/release-0.1.sqlite3.gz"  # the cast's past, as release 0.1 stored it
REVISION = "0015"


@pytest.fixture
def old(engine: Any, tmp_path: Path) -> Settings:
    """A deployment of release 0.1 with the history of the cast."""
    return deployment_of_0_1(engine, tmp_path, gzip.decompress(RELEASE.read_bytes()))


def deployment_of_0_1(engine: Any, folder: Path, database: bytes) -> Settings:
    """Create a deployment with the schema of release 0.1 and the rows of `database`, a SQLite file of that release."""
    settings = Settings(data_dir=folder, base_url="http://localhost", **engine.empty())
    file = folder / "release.sqlite3"
    file.write_bytes(database)
    if engine.name == "sqlite":
        Path(settings.database_url.removeprefix("sqlite:///")).write_bytes(file.read_bytes())
        return settings
    owner = create_engine(settings.owner_url)
    with owner.begin() as connection, guard.raw_sql():
        config = revisions.config()
        config.attributes["connection"] = connection
        command.upgrade(config, REVISION)
        _copy(file, connection)
    owner.dispose()
    return settings


def _copy(file: Path, connection: Any) -> None:
    """Copy every row of the SQLite file, with the types of PostgreSQL."""
    run = connection.exec_driver_sql
    run("SET LOCAL session_replication_role = replica")  # rows come in the order of table names
    with closing(sqlite3.connect(file)) as rows:
        for table in inspect(connection).get_table_names():
            columns = {item["name"]: item["type"] for item in inspect(connection).get_columns(table)}
            names = [item[1] for item in rows.execute(f"PRAGMA table_info({table})")]
            flags = [str(columns[name]) == "BOOLEAN" for name in names]
            listed = ", ".join(f'"{name}"' for name in names)
            found = rows.execute(f"SELECT {listed} FROM {table}").fetchall()
            if not found or table == "alembic_version":
                continue
            values = [tuple(bool(value) if flag and value is not None else value for flag, value in zip(flags, row)) for row in found]
            run(f"INSERT INTO {table} ({listed}) VALUES ({', '.join(['%s'] * len(names))})", values)


def _count(settings: Settings, table: str) -> int:
    engine = create_engine(settings.owner_url)
    with engine.connect() as connection:
        found = int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())
    engine.dispose()
    return found


def _set_revision(settings: Settings, revision: str) -> None:
    engine = create_engine(settings.owner_url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")
    engine.dispose()


def test_release_0_1_is_upgraded_with_its_data(old: Settings, make_app: Callable[..., Flask]) -> None:
    before = {table: _count(old, table) for table in ("customers", "subscriptions", "invoices", "payments", "license_keys")}
    assert all(before.values())
    schema.upgrade(old)
    assert {table: _count(old, table) for table in before} == before
    app = make_app(old)
    ada = Visitor(app)
    ada.sign_in(Cast.ADA)
    overview = ada.get("/").text
    assert "Acorn Team" in overview and "Birch Team" in overview
    for path in ("/subscriptions", "/billing-history", "/purchases", "/payment-methods", "/license-keys", "/profile", "/activity"):
        ada.get(path)
    assert app.test_client().get("/readyz").status_code == 200
    schema.upgrade(old)  # a second call changes nothing


def test_an_upgrade_that_breaks_changes_nothing(old: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on SQLite, whose driver would commit each table change separately."""
    before = _tables(old)

    def breaks(*_: object) -> None:
        raise RuntimeError("the power is cut")

    monkeypatch.setattr(schema, "grant", breaks)  # the last thing before the commit
    with pytest.raises(RuntimeError, match="power"):
        schema.upgrade(old)
    assert (_revision(old), _tables(old)) == (REVISION, before)
    monkeypatch.undo()
    schema.upgrade(old)
    assert {_revision(old)} == revisions.newest()


def test_an_upgrade_killed_between_its_steps_is_resumed(
    old: Settings, monkeypatch: pytest.MonkeyPatch, make_app: Callable[..., Flask]
) -> None:
    monkeypatch.setattr(migration_runner, "run", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        schema.upgrade(old)
    monkeypatch.undo()
    schema.upgrade(old)
    assert make_app(old).test_client().get("/readyz").status_code == 200


def test_downgrade_explains_a_restore_and_changes_nothing(settings: Settings) -> None:
    app = Flask("downgrade")
    cli.register(app, settings)
    before = (_revision(settings), _tables(settings))
    done = app.test_cli_runner().invoke(args=["downgrade"])
    assert done.exit_code == 2 and "There is no downgrade" in done.output and "run `restore` with the backup" in done.output
    assert (_revision(settings), _tables(settings)) == before


def _tables(settings: Settings) -> dict[str, list[str]]:
    engine = create_engine(settings.owner_url)
    found = {table: sorted(item["name"] for item in inspect(engine).get_columns(table)) for table in inspect(engine).get_table_names()}
    engine.dispose()
    return found


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_an_upgrade_waits_for_no_lock_and_changes_nothing(old: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """An open reading transaction holds a lock. An ALTER that waits for it would block every page."""
    monkeypatch.setattr(schema, "LOCK_TIMEOUT", "300ms")
    reader = create_engine(old.owner_url)
    with reader.connect() as connection:
        for table in inspect(connection).get_table_names():
            connection.exec_driver_sql(f"LOCK TABLE {table} IN ACCESS SHARE MODE")
        if revisions.newest() != {REVISION}:
            with pytest.raises(Misconfigured, match="holds a lock on a table, so nothing was changed"):
                schema.upgrade(old)
            assert _revision(old) == REVISION
    schema.upgrade(old)
    assert {_revision(old)} == revisions.newest()
    reader.dispose()


def _revision(settings: Settings) -> str:
    engine = create_engine(settings.owner_url)
    with engine.connect() as connection:
        found = str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar())
    engine.dispose()
    return found


def test_readers_and_writers_are_not_blocked_by_an_upgrade(postgres: Any) -> None:
    """A short run of tests/harness/rehearse_upgrade.py: no errors, and every step is done."""
    found = rehearse(postgres, 3000, "0023")
    assert found["errors"] == [] and found["steps left"] == []
    assert found["undecided"] == found["steps"]["0028/undecided"] == 3 and found["steps"]["0028/began_at"] == 3000
    assert found["reader ran"] > 0 and found["writer ran"] > 0


def test_new_code_refuses_an_old_schema_and_says_what_to_do(settings: Settings, make_app: Callable[..., Flask]) -> None:
    _set_revision(settings, "0014")
    with pytest.raises(Misconfigured, match=r"is at schema 0014 and this version needs \d+: run `flask --app wsgi upgrade`"):
        make_app(settings)


def test_old_code_refuses_a_new_schema_and_leaves_it_alone(settings: Settings, make_app: Callable[..., Flask]) -> None:
    """The message does not say "run upgrade", because an old version cannot upgrade."""
    _set_revision(settings, "9999")
    for attempt in (lambda: make_app(settings), lambda: schema.upgrade(settings)):
        with pytest.raises(Misconfigured, match="upgraded by a newer version of the portal .schema 9999.*restore a backup"):
            attempt()
    assert _revision(settings) == "9999"


def test_readyz_reports_a_newer_schema(settings: Settings, make_app: Callable[..., Flask]) -> None:
    app = make_app(settings)
    for revision, word in (("9999", "newer version"), ("0014", "run `flask --app wsgi upgrade`")):
        _set_revision(settings, revision)
        answer = app.test_client().get("/readyz")
        assert answer.status_code == 503 and word in answer.get_json()["troubles"][0]


def test_the_mode_is_checked_before_anything_is_migrated(old: Settings) -> None:
    live = replace(
        old,
        mode="live",
        gateway="none",
        base_url="https://portal.example",
        secret_keys=("k" * 40,),
        mail_server="127.0.0.1",
        allow_sqlite=True,
    )
    with pytest.raises(Misconfigured, match="belongs to a test deployment"):
        schema.upgrade(live)
    assert _revision(old) == REVISION
