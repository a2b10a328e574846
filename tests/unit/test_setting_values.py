"""Unusable settings give one clear sentence and exit code 2. Usable ones are read correctly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.settings import Misconfigured, Settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORTAL_MODE", "production"),
        ("PORT", "http"),
        ("PORT", "70000"),
        ("MAIL_PORT", "abc"),
        ("MAIL_PORT", "0"),
        ("MAIL_PORT", "-1"),
        ("MAIL_USE_TLS", "ye"),
        ("MAIL_USE_SSL", "2"),
        ("PORTAL_WORKER", "of"),
        ("LOG_LEVEL", "verbose"),
        ("PORTAL_API_RATE", "many"),
        ("PORTAL_API_RATE", "-5"),
        ("DATABASE_PREPARE_THRESHOLD", "some"),
        ("PORTAL_ALLOW_SQLITE", "maybe"),
        ("DATABASE_URL", "mysql://a/b"),
        ("DATABASE_URL", "not a url"),
        ("DATABASE_OWNER_URL", "oracle://a/b"),
        ("DATABASE_REPLICA_URL", "::"),
        ("DATABASE_BACKUP_URL", "x"),
        ("PORTAL_BASE_URL", "portal.example"),
        ("PORTAL_BASE_URL", "ftp://portal.example"),
        ("PORTAL_BASE_URL", "https://portal.example/a"),
        ("PORTAL_BASE_URL", "https://portal.example:port"),
        ("PORTAL_TRUSTED_PROXIES", "some"),
        ("PORTAL_BOT_CHECK", "riddle"),
    ],
)
def test_a_wrong_value_names_its_setting(name: str, value: str) -> None:
    with pytest.raises(Misconfigured, match=name) as caught:
        Settings.from_env({name: value})
    assert "\n" not in caught.value.message and caught.value.exit_code == 2


def test_a_url_with_a_password_is_not_repeated() -> None:
    with pytest.raises(Misconfigured) as caught:
        Settings.from_env({"DATABASE_URL": "postgresql//portal:secret@host"})
    assert "secret" not in caught.value.message


def test_starttls_and_implicit_tls_exclude_each_other() -> None:
    with pytest.raises(Misconfigured, match="MAIL_USE_SSL"):
        Settings.from_env({"MAIL_USE_TLS": "1", "MAIL_USE_SSL": "1"})
    assert Settings.from_env({"MAIL_USE_SSL": "1"}).mail_port == 465
    assert Settings.from_env({"MAIL_USE_SSL": "1", "MAIL_PORT": "4650"}).mail_port == 4650


def test_usual_spellings_are_understood() -> None:
    read = Settings.from_env(
        {
            "MAIL_USE_TLS": "Yes",
            "PORTAL_ALLOW_SQLITE": "off",
            "LOG_LEVEL": "debug",
            "DATABASE_PREPARE_THRESHOLD": "none",
            "PORTAL_BASE_URL": "https://portal.example/",
            "DATABASE_URL": "postgres://a@b/c",
        }
    )
    assert (read.mail_use_tls, read.allow_sqlite, read.log_level, read.prepare_threshold) == (True, False, "DEBUG", None)
    assert read.base_url == "https://portal.example" and read.database_url == "postgresql+psycopg://a@b/c"


@pytest.mark.parametrize(
    ("environ", "arguments", "word"),
    [
        ({"MAIL_PORT": "abc"}, ["serve"], "MAIL_PORT"),
        ({}, ["serve", "--processes", "2"], "SQLite serves one process"),
        ({}, ["clock"], "upgrade"),
    ],
)
def test_commands_exit_with_2_and_one_line(environ: dict[str, str], arguments: list[str], word: str, tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PORTAL_", "DATABASE_", "MAIL_"))}
    base = {**clean, "PORTAL_DATA_DIR": str(tmp_path), "PORTAL_WORKER": "off"}
    flask = [sys.executable, "-m", "flask", "--app", "wsgi"]
    if word != "upgrade":
        subprocess.run([*flask, "upgrade"], cwd=ROOT, env=base, check=True, capture_output=True)
    done = subprocess.run([*flask, *arguments], cwd=ROOT, env=base | environ, capture_output=True, text=True)
    assert done.returncode == 2 and word in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
