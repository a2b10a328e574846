"""A connection pooler in front of PostgreSQL: unusable settings are refused with a correction, others serve every page."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from flask import Flask
from sqlalchemy.engine import make_url

from core import health, schema
from core.settings import Misconfigured, Settings
from tests.cast import Cast
from tests.harness.database_proxy import database_proxy
from tests.harness.fake_pooler import fake_pooler
from tests.serving.server import free_port
from tests.visitor import Visitor

pytestmark = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
Make = Callable[..., Flask]

WORKING = [("session", False, 5), ("transaction", False, None), ("transaction", True, 5)]  # pooling, follows statements, threshold


def use(app: Flask) -> None:
    """Sign in and open pages often enough that the driver prepares its statements."""
    ada = Visitor(app)
    ada.sign_in(Cast.ADA)
    for _ in range(8):
        assert "Acorn Team" in ada.get("/").text
    assert ada.get("/readyz").status == 200


@pytest.mark.parametrize(("mode", "follows", "threshold"), WORKING)
def test_settings_that_work_serve_every_page(
    mode: str, follows: bool, threshold: int | None, settings: Settings, cast: Cast, make_app: Make
) -> None:
    with fake_pooler(settings.database_url, mode, follows) as pooler:  # type: ignore[arg-type]
        app = make_app(replace(settings, database_url=pooler.url(settings.database_url), prepare_threshold=threshold))
        use(app)
        assert app.extensions["portal"].database.poolers[0].pooled


def refused(settings: Settings, make_app: Make, words: str) -> None:
    with pytest.raises(Misconfigured, match=words) as refusal:
        make_app(settings)
    assert refusal.value.message.startswith("DATABASE_URL points to a connection pooler"), refusal.value.message
    assert "portal_app" not in refusal.value.message, "neither the address nor the password of the database"


def test_transaction_pooling_that_loses_prepared_statements_is_refused(settings: Settings, make_app: Make) -> None:
    with fake_pooler(settings.database_url, "transaction") as pooler:
        refused(replace(settings, database_url=pooler.url(settings.database_url)), make_app, "Set DATABASE_PREPARE_THRESHOLD=none")


@pytest.mark.parametrize("threshold", [5, None])
def test_statement_pooling_is_refused(threshold: int | None, settings: Settings, make_app: Make) -> None:
    with fake_pooler(settings.database_url, "statement") as pooler:
        refused(
            replace(settings, database_url=pooler.url(settings.database_url), prepare_threshold=threshold),
            make_app,
            "Set pool_mode = transaction",
        )


def test_a_replica_behind_a_wrong_pooler_is_refused_by_name(settings: Settings, make_app: Make) -> None:
    with (
        fake_pooler(settings.database_url, "transaction") as pooler,
        pytest.raises(Misconfigured, match="^DATABASE_REPLICA_URL points to a connection pooler"),
    ):
        make_app(replace(settings, database_replica_url=pooler.url(settings.database_url)))


def test_readyz_reports_a_pooler_that_changes_its_mode(settings: Settings, cast: Cast, make_app: Make) -> None:
    with fake_pooler(settings.database_url, "transaction", True) as pooler:
        app = make_app(replace(settings, database_url=pooler.url(settings.database_url)))
        ada = Visitor(app)
        ada.sign_in(Cast.ADA)
        assert ada.get("/readyz").status == 200
        pooler.follows_statements = False
        until = time.monotonic() + 60
        while (seen := ada.get("/", expect=None).status) == 200:
            assert time.monotonic() < until, "pages break as soon as statements are prepared"
        assert seen == 503, "people see that it is not their fault"
        page = ada.get("/readyz", expect=None)
        assert page.status == 503
        assert any("Set DATABASE_PREPARE_THRESHOLD=none" in item for item in page.response.get_json()["troubles"])


def test_a_direct_connection_is_not_taken_for_a_pooler(settings: Settings, make_app: Make) -> None:
    app = make_app(settings)
    assert not app.extensions["portal"].database.poolers[0].pooled and health.checks(app.extensions["portal"]) == []


def test_upgrades_leave_no_prepared_statements_with_the_pooler(settings: Settings) -> None:
    with fake_pooler(settings.owner_url, "transaction") as pooler:
        through = replace(settings, database_owner_url=pooler.url(settings.owner_url))
        for _ in range(3):
            schema.upgrade(through)
        with psycopg.connect(pooler.url(settings.owner_url).replace("+psycopg", ""), prepare_threshold=None) as connection:
            for _ in range(6):
                assert connection.execute("SELECT name FROM pg_prepared_statements").fetchall() == []
                connection.commit()


@contextmanager
def pgbouncer(url: str, pool_mode: str, statements: int = 0) -> Iterator[str]:
    """The real PgBouncer, if the package `pgbouncer` is installed. Returns the URL through it. `statements`: max_prepared_statements."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not installed (Debian package pgbouncer); the same rules are tested with a pooler of our own")
    version = re.search(r"PgBouncer (\d+)\.(\d+)", subprocess.run([program, "--version"], capture_output=True, text=True).stdout)
    follows = version is not None and (int(version[1]), int(version[2])) >= (1, 22)
    if statements and not follows:
        pytest.skip("this pgbouncer has no prepared statements in transaction pooling; the same rule is tested with a pooler of our own")
    options = {"pool_mode": pool_mode, **({"max_prepared_statements": statements} if follows else {})}
    folder, port = Path(tempfile.mkdtemp(prefix="pgbouncer-")), free_port()
    folder.chmod(0o755)  # it refuses to run as root
    (folder / "users.txt").write_text('"portal_app" "portal_app"\n')
    with database_proxy(url) as proxy:  # its user may not enter the folder of the server's socket
        lines = {
            "listen_addr": "127.0.0.1",
            "listen_port": port,
            "unix_socket_dir": "",
            "auth_type": "trust",
            "auth_file": folder / "users.txt",
            **options,
        }
        (folder / "pgbouncer.ini").write_text(
            "\n".join(
                [
                    f"[databases]\n* = host=127.0.0.1 port={proxy.port}\n[pgbouncer]",
                    *(f"{name} = {value}" for name, value in lines.items()),
                    "",
                ]
            )
        )
        process = subprocess.Popen(
            [program, "-q", folder / "pgbouncer.ini"], stderr=subprocess.DEVNULL, user="nobody" if os.getuid() == 0 else None
        )
        try:
            until = time.monotonic() + 30
            while True:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                assert process.poll() is None and time.monotonic() < until, "pgbouncer did not start"
                time.sleep(0.05)
            yield make_url(proxy.url(url)).set(port=port).render_as_string(hide_password=False)
        finally:
            process.terminate()
            process.wait(30)
            shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("pool_mode", "statements", "threshold", "words"),
    [
        ("session", 0, 5, ""),
        ("transaction", 0, None, ""),
        ("transaction", 200, 5, ""),
        ("transaction", 0, 5, "Set DATABASE_PREPARE_THRESHOLD=none"),
        ("statement", 0, None, "Set pool_mode = transaction"),
    ],
)
def test_pgbouncer_serves_every_page(
    pool_mode: str, statements: int, threshold: int | None, words: str, settings: Settings, cast: Cast, make_app: Make
) -> None:
    with pgbouncer(settings.database_url, pool_mode, statements) as url:
        through = replace(settings, database_url=url, prepare_threshold=threshold)
        if words:
            refused(through, make_app, words)
        else:
            use(make_app(through))
