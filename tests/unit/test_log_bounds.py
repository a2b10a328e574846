"""Logging takes time linear in the input of a client, log lines stay short, and none goes to stdout."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from typing import Any

import psycopg
import pytest
import structlog
from sqlalchemy.exc import OperationalError

from core import log
from core.database_errors import is_outage
from tests.deploy import ROOT

LONG = 60_000


@pytest.mark.parametrize(
    "text",
    [
        "/" + "a" * LONG,
        "a." * (LONG // 2),
        "a" * LONG + "@",
        "a@" * (LONG // 2),
        "a@" + "b." * (LONG // 2),
        "a@" + "b-" * (LONG // 2),
        "Bearer" + " " * LONG,
        "Bearer " * (LONG // 7),
        "token=" * (LONG // 6),
        "/session/" * (LONG // 9),
        "é" * LONG,
        "+" * LONG + "@a",
    ],
    ids=lambda text: f"{text[:8]!r}",
)
def test_cleaning_text_takes_time_in_proportion_to_its_length(text: str) -> None:
    began = time.perf_counter()
    log.clean(text)
    assert time.perf_counter() - began < 0.5  # about 0.005 s; the quadratic pattern took 20 s


def test_a_line_of_the_log_is_short_whatever_the_request_holds() -> None:
    event: dict[str, Any] = {"path": "/" + "a" * LONG, "method": "M" * LONG, "headers": {"x": "y" * LONG}}
    assert all(len(value) < 2_100 for value in log.redact(None, "info", event).values())


def test_secrets_and_addresses_are_hidden_at_the_start_of_a_long_text_too() -> None:
    line = log.clean("/login/link/s3cr3t from ada@marlow.example " + "a" * LONG)
    assert "s3cr3t" not in line and "ada@" not in line and line.endswith("characters)")


def test_the_end_of_a_long_traceback_is_kept() -> None:
    event = log.redact(None, "error", {"exception": "frame\n" * LONG + "ValueError: for ada@marlow.example"})
    assert "ValueError" in event["exception"] and "ada@" not in event["exception"]


@pytest.mark.parametrize("address", ["ada@marlow.example", "ada+shop@marlow.example", "ada.b-c@mail.marlow.example", "ådå@marlow.example"])
@pytest.mark.parametrize("around", ["{}", "<{}>", "to={}&x=1", "a {} b", "({})", "mailto:{},"])
def test_addresses_are_hidden_at_every_position(address: str, around: str) -> None:
    line = log.clean(around.format(address))
    assert "marlow" not in line and "mail:" in line


def _away() -> OperationalError:
    return OperationalError("SELECT 1", {}, psycopg.OperationalError("connection refused"))


def test_an_outage_of_the_database_is_one_short_line_a_minute(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_logged_at", {})
    log.configure()

    def fail(job: str, error: Exception) -> None:
        try:
            raise error
        except Exception:
            structlog.get_logger().exception("a recurring job failed", job=job)

    for _ in range(50):
        fail("renewals", _away())
    fail("dunning", _away())
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["job"] for line in lines] == ["renewals", "dunning"]
    assert all(line["reason"] == "the database is away" and "exception" not in line for line in lines)
    for _ in range(2):
        fail("renewals", ValueError("a fault of ours"))
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert len(lines) == 2 and all("ValueError" in line["exception"] for line in lines)


@pytest.mark.parametrize("words", ["no such column: x", 'near "FORM": syntax error', "table events has no column named x"])
def test_an_invalid_statement_is_no_outage_on_sqlite(words: str) -> None:
    assert not is_outage(OperationalError("SELECT x", {}, sqlite3.OperationalError(words)))
    assert is_outage(OperationalError("SELECT x", {}, sqlite3.OperationalError("disk I/O error")))


def test_a_command_that_fails_writes_nothing_to_stdout() -> None:
    """Scripts read the output of `flask domains` and `flask business new`, so log lines go to stderr from the start."""
    away = {**os.environ, "DATABASE_URL": "postgresql+psycopg://portal_app:a-secret@127.0.0.1:1/portal", "PORTAL_MODE": "test"}
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "domains"]
    done = subprocess.run(command, cwd=ROOT, env={**away, "LOG_LEVEL": "DEBUG"}, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2 and "The database does not answer" in done.stderr
    assert "connection pooler could not be tested" in done.stderr and done.stdout == ""
