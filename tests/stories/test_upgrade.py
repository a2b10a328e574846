"""Upgrading a deployment with data: from the schema of release 0.1, beside somebody who holds locks, and what each version says of
a database that is not its own."""

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

from core import guard, revisions, schema
from core.settings import Misconfigured, Settings
from tests.cast import Cast
from tests.visitor import Visitor

RELEASE = Path(__file__).resolve().parents[1] / "data/release-0.1.sqlite3.gz"  # the cast's past, as release 0.1 stored it
REVISION = "0015"


@pytest.fixture
def old(engine: Any, tmp_path: Path) -> Settings:
    """A deployment of release 0.1 with the cast's past in it."""
    settings = Settings(data_dir=tmp_path, base_url="http://localhost", **engine.empty())
    file = tmp_path / "release.sqlite3"
    file.write_bytes(gzip.decompress(RELEASE.read_bytes()))
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
    """Every row of the SQLite file, types as PostgreSQL has them."""
    run = connection.exec_driver_sql
    run("SET LOCAL session_replication_role = replica")  # rows come in the order of table names
    with closing(sqlite3.connect(file)) as rows:
        for table in inspect(connection).get_table_names():
            columns = {one["name"]: one["type"] for one in inspect(connection).get_columns(table)}
            names = [one[1] for one in rows.execute(f"PRAGMA table_info({table})")]
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


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_an_upgrade_waits_for_no_lock_and_changes_nothing(old: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader in an open transaction holds a lock; an ALTER that waited behind it would keep every page waiting."""
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


def test_new_code_refuses_an_old_schema_and_says_what_to_do(settings: Settings, make_app: Callable[..., Flask]) -> None:
    _set_revision(settings, "0014")
    with pytest.raises(Misconfigured, match=r"is at schema 0014 and this version needs \d+: run `flask --app wsgi upgrade`"):
        make_app(settings)


def test_old_code_refuses_a_new_schema_and_leaves_it_alone(settings: Settings, make_app: Callable[..., Flask]) -> None:
    """"Run upgrade" would be wrong advice: an old version cannot."""
    _set_revision(settings, "9999")
    for attempt in (lambda: make_app(settings), lambda: schema.upgrade(settings)):
        with pytest.raises(Misconfigured, match="upgraded by a newer version of the portal .schema 9999.*restore a backup"):
            attempt()
    assert _revision(settings) == "9999"


def test_a_running_process_says_so_in_readyz(settings: Settings, make_app: Callable[..., Flask]) -> None:
    app = make_app(settings)
    for revision, word in (("9999", "newer version"), ("0014", "run `flask --app wsgi upgrade`")):
        _set_revision(settings, revision)
        answer = app.test_client().get("/readyz")
        assert answer.status_code == 503 and word in answer.get_json()["troubles"][0]


def test_the_mode_is_checked_before_anything_is_migrated(old: Settings) -> None:
    live = replace(old, mode="live", gateway="none", base_url="https://portal.example", secret_keys=("k" * 40,),
                   mail_server="127.0.0.1", allow_sqlite=True)
    with pytest.raises(Misconfigured, match="belongs to a test deployment"):
        schema.upgrade(live)
    assert _revision(old) == REVISION
