"""`flask check` on complete deployments: real database roles, its lines, its JSON, its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import update
from sqlalchemy.engine import make_url

from core import clock, leases, log
from core.checks import Finding
from core.db import Database
from core.migration_steps import MigrationStep
from core.scope import everything, system
from core.settings import Settings
from tenants import deployment_check
from tenants.external import account
from tests.cast import Cast
from tests.conftest import on_sqlite
from tests.harness.fake_pooler import fake_pooler

ROOT = Path(__file__).resolve().parents[2]
on_postgresql = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)


def run(settings: Settings, *arguments: str) -> Result:
    """Run the checks as `flask check` does, without the rest of the application."""
    log.configure(settings.log_level)
    app = Flask("check")
    deployment_check.register(app, settings)
    return app.test_cli_runner().invoke(args=["check", *arguments])


def wrong(settings: Settings) -> dict[str, str]:
    """Return {name: text} of the findings about the database and its rows."""
    return {load["name"]: load["text"] for load in json.loads(run(settings, "--json").stdout) if load["state"] == "wrong"}


def test_one_line_per_finding_and_exit_codes(settings: Settings) -> None:
    done = run(settings)
    lines = done.output.strip().splitlines()
    assert done.exit_code == 1 and lines[-1].endswith("checks failed.")
    assert all(line.startswith(("ok ", "WRONG ", "? ")) for line in lines[:-1]) and len(lines) > 12
    assert all(" -> " in line for line in lines if line.startswith("WRONG"))
    listed = json.loads(run(settings, "--json").stdout)
    assert [item["name"] for item in listed] == [line[8:].partition(":")[0] for line in lines[:-1]]
    assert set(listed[0]) == {"name", "state", "text", "todo"}


def test_no_findings_exit_with_0(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Finding("mode", "ok", "live"), Finding("DNS", "not checked", "away")]
    monkeypatch.setattr(deployment_check, "findings", lambda _settings: iter(found))
    done = run(settings)
    assert done.exit_code == 0 and done.output.strip().endswith("All checks passed.")


@on_sqlite
def test_unusable_settings_exit_with_2(engine: Any, tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PORTAL_", "DATABASE_", "MAIL_"))}
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", "check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=clean | {"PORTAL_DATA_DIR": str(tmp_path), "MAIL_PORT": "abc"},
    )
    assert done.returncode == 2 and "MAIL_PORT" in done.stderr and done.stdout == ""


def test_a_recent_worker_run_is_ok(settings: Settings, database: Database) -> None:
    assert "worker" in wrong(settings)
    leases.take(database, "renewals", "a worker", timedelta(seconds=5))
    assert "worker" not in wrong(settings)
    with database.open(everything("time passes"), write=True) as db:
        db.execute(
            update(leases.Lease).values(until=clock.wall() - timedelta(minutes=10)), execution_options={"synchronize_session": False}
        )
    assert "none has run since" in wrong(settings)["worker"]


def test_an_old_schema_and_an_interrupted_upgrade_are_reported(settings: Settings, database: Database) -> None:
    assert not {"schema", "mode of the database"} & set(wrong(settings))
    live = replace(settings, mode="live")
    assert "test, and PORTAL_MODE is live" in wrong(live)["mode of the database"]
    with database.open(everything("an upgrade was killed"), write=True) as db:
        db.execute(update(MigrationStep).values(done_at=None), execution_options={"synchronize_session": False})
    assert "interrupted" in wrong(settings)["schema"]


def test_an_unreachable_database_is_reported(settings: Settings) -> None:
    if settings.is_sqlite:
        away = replace(settings, database_url=f"{settings.database_url}.away")
    else:
        away = replace(settings, database_url="postgresql+psycopg://portal_app:a-secret@127.0.0.1:1/portal")
    done = run(away)
    assert (
        f"{away.database_url.removeprefix('sqlite:///')} does not exist -> run `flask --app wsgi upgrade`" in done.output
        or "WRONG   database: it does not answer (OperationalError)" in done.output
    )
    assert done.exit_code == 1 and "roles, schema, clock, worker, sealed secrets: not checked" in done.output
    assert "a-secret" not in done.output
    assert not Path(away.database_url.removeprefix("sqlite:///")).exists(), "looking makes nothing"


@on_sqlite
def test_secrets_encrypted_with_another_key_are_reported(cast: Cast, settings: Settings) -> None:
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        account.connect(db, settings, cast.acorn, "dodo", base_url="https://test.dodopayments.com", api_key="secret")
    assert "sealed secrets" not in wrong(settings)
    found = wrong(replace(settings, secret_keys=("q8Vt3zX1mK7pR4sW9yB2cD5fG6hJ0lNA",)))
    assert "1 of 1 cannot be decrypted: key of dodo of bus_" in found["sealed secrets"]


@on_sqlite
def test_subscriptions_without_a_processor_are_reported(cast: Cast, settings: Settings) -> None:
    assert "subscriptions" not in wrong(settings)
    assert "3 are billed here, but their business has no open payment account" in wrong(replace(settings, gateway="none"))["subscriptions"]


# --- roles, on a real server
@contextmanager
def role(settings: Settings, name: str, *statements: str, options: str = "") -> Iterator[Settings]:
    """Return the deployment with another role in DATABASE_URL. `statements` run as the owner, with {role} and {owner} in them."""
    owner = settings.owner_url.replace("+psycopg", "", 1)
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'q8Vt3zX1mK7pR4sW9yB2' {options}")
        try:
            connection.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}")
            for statement in statements:
                connection.execute(statement.format(role=name, owner=connection.info.user))
            url = make_url(settings.database_url).set(username=name, password="q8Vt3zX1mK7pR4sW9yB2")
            yield replace(settings, database_url=url.render_as_string(hide_password=False))
        finally:
            connection.execute(f"REASSIGN OWNED BY {name} TO CURRENT_USER")
            connection.execute(f"DROP OWNED BY {name}")
            connection.execute(f"DROP ROLE {name}")


@on_postgresql
def test_the_documented_database_roles_are_accepted(settings: Settings) -> None:
    found = wrong(settings)
    assert not [name for name in found if name.startswith("database role") or name in ("DATABASE_OWNER_URL", "clock", "row-level security")]


@on_postgresql
@pytest.mark.parametrize(
    ("options", "statements", "word"),
    [
        ("SUPERUSER", (), "is a superuser"),
        ("BYPASSRLS", (), "bypasses row-level security"),
        ("CREATEROLE", (), "may create roles"),
        ("", ("ALTER TABLE leases OWNER TO {role}",), "owns 1 tables"),
        ("", ("GRANT {owner} TO {role}",), "is a member of the owner's role"),
        ("", ("GRANT CREATE ON SCHEMA public TO {role}",), "may create tables"),
        ("", ("REVOKE INSERT ON invoices FROM {role}",), "may not read and write invoices"),
    ],
)
def test_roles_with_too_many_or_too_few_privileges_are_reported(
    settings: Settings, options: str, statements: tuple[str, ...], word: str
) -> None:
    with role(settings, f"portal_check_{os.getpid()}", *statements, options=options) as other:
        assert word in wrong(other)[f"database role portal_check_{os.getpid()}"]


@on_postgresql
def test_disabled_row_level_security_is_reported(settings: Settings) -> None:
    with psycopg.connect(settings.owner_url.replace("+psycopg", "", 1), autocommit=True) as connection:
        connection.execute("ALTER TABLE customers DISABLE ROW LEVEL SECURITY")
    assert "it is off for customers" in wrong(settings)["row-level security"]


@on_postgresql
def test_a_single_role_for_everything_is_reported(settings: Settings) -> None:
    assert "the application's own role" in wrong(replace(settings, database_owner_url=""))["DATABASE_OWNER_URL"]
    outside = make_url(settings.database_owner_url).set(host="127.0.0.1", port=1).render_as_string(hide_password=False)
    assert "cannot log in" in wrong(replace(settings, database_owner_url=outside))["DATABASE_OWNER_URL"]


@on_postgresql
def test_poolers_are_checked_for_their_mode(settings: Settings) -> None:
    with fake_pooler(settings.database_url, "transaction") as pooler:
        through = replace(settings, database_url=pooler.url(settings.database_url))
        assert "loses prepared statements" in wrong(through)["connection pooler"]
        assert "connection pooler" not in wrong(replace(through, prepare_threshold=None))
    with fake_pooler(settings.database_url, "transaction", True) as pooler:
        fits = json.loads(run(replace(settings, database_url=pooler.url(settings.database_url)), "--json").stdout)
        assert [fit["state"] for fit in fits if fit["name"] == "connection pooler"] == ["ok"]
    with fake_pooler(settings.database_url, "statement") as pooler:
        assert "statement pooling" in wrong(replace(settings, database_url=pooler.url(settings.database_url)))["connection pooler"]


@on_postgresql
def test_a_replica_that_is_a_primary_is_reported(settings: Settings) -> None:
    assert "it is not a standby" in wrong(replace(settings, database_replica_url=settings.database_url))["DATABASE_REPLICA_URL"]
    away = make_url(settings.database_url).set(host="127.0.0.1", port=1).render_as_string(hide_password=False)
    assert "does not answer" in wrong(replace(settings, database_replica_url=away))["DATABASE_REPLICA_URL"]
