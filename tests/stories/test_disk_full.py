"""With a full disk `/readyz` names the disk without a path, and people get the outage page."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask import Flask
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from core import clock
from core.mailbox import MailboxEmail
from core.scope import everything
from core.services import Services
from core.settings import Settings
from tests.visitor import Visitor

Make = Callable[..., Flask]
DATABASE, FOLDER = "the disk of the database is full", "the disk of the data folder is full"
only_sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
only_postgresql = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)


def troubles(app: Flask) -> list[str]:
    answer = app.test_client().get("/readyz")
    found: list[str] = answer.get_json()["troubles"]
    assert answer.status_code == (503 if found else 200)
    assert not any("/" in item for item in found), "no path"
    return found


def email(id: str, text: str) -> MailboxEmail:
    return MailboxEmail(id=id, to="ada@marlow.example", subject="", text=text, html="", created_at=clock.wall())


def fill(services: Services) -> None:
    """Write until the database refuses."""
    with pytest.raises(OperationalError):
        for number in range(1000):
            with services.database.open(everything("fill the disk"), write=True) as db:
                db.add(email(f"fill_{number}", "x" * 2**20))


def test_too_little_disk_space_fails_readyz(settings: Settings, make_app: Make) -> None:
    app = make_app(settings)
    space = app.extensions["portal"].database.disk_space
    assert troubles(app) == []
    space.low = 2**62
    assert any("MB left" in note for note in app.test_client().get("/readyz").get_json()["notes"])
    space.minimum = 2**62
    assert troubles(app) == ([FOLDER, DATABASE] if settings.is_sqlite else [FOLDER])


@only_sqlite
def test_a_full_disk_of_sqlite_is_reported_for_a_while(settings: Settings, make_app: Make) -> None:
    app = make_app(settings)
    services: Services = app.extensions["portal"]

    @event.listens_for(services.database.engine, "connect", insert=False)
    def bound(dbapi: Any, _record: Any) -> None:
        dbapi.execute("PRAGMA max_page_count = 2000")

    services.database.dispose()
    fill(services)
    assert troubles(app) == [DATABASE]
    services.database.disk_space.remembered = 0.0
    assert troubles(app) == []


@only_postgresql
def test_a_full_disk_of_postgresql_is_reported_for_a_while(settings: Settings, make_app: Make) -> None:
    """The server raises disk_full itself, as it does when it cannot extend a file."""
    app = make_app(settings)
    with psycopg.connect(settings.owner_url.replace("+psycopg", ""), autocommit=True) as owner:
        owner.execute(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE 'could not extend file' USING ERRCODE = 'disk_full'; END $$"
        )
        owner.execute("CREATE TRIGGER full_disk BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION full_disk()")
    assert troubles(app) == []
    ada = Visitor(app)
    ada.get("/login")
    page = ada.post("/login", {"email": "ada@marlow.example", "csrf_token": ada.token()}, expect=None)
    assert page.status == 503 and page.h1 == "The portal is temporarily unavailable"
    assert troubles(app) == [DATABASE]
    app.extensions["portal"].database.disk_space.remembered = 0.0
    assert troubles(app) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root; the same rules are tested with limits of the database")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@only_sqlite
def test_a_small_disk_that_fills_up_and_is_cleared_again(small_disk: Path, settings: Settings, make_app: Make) -> None:
    path = small_disk / "portal.sqlite3"
    shutil.copyfile(settings.database_url.removeprefix("sqlite:///"), path)
    app = make_app(replace(settings, database_url=f"sqlite:///{path}", data_dir=small_disk))
    services: Services = app.extensions["portal"]
    assert troubles(app) == []
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * (20 * 2**20))
    assert troubles(app) == [FOLDER, DATABASE], "before anything is refused"
    services.database.disk_space.minimum = 0
    fill(services)
    assert troubles(app) == [DATABASE]
    filler.unlink()
    services.database.disk_space.remembered = 0.0
    assert troubles(app) == []
    with services.database.open(everything("write again"), write=True) as db:
        db.add(email("after", ""))
