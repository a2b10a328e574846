"""Fixtures every test may use: both engines, a whole house, the cast, and people with browsers.

`engine` runs a test on SQLite and on PostgreSQL; `house` is a wired application on a fresh database; `cast` fills it with
Ada (buys from Acorn and Birch), Ben (Birch only), Mallory (neither) and Sam's business Acorn.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from core import clock
from core.settings import Settings
from core.web import House
from tests.cast import Cast
from tests.engines import Postgres, Sqlite
from tests.quick import SANDBOX, Past, Stage, share_what_is_compiled
from tests.visitor import Visitor

share_what_is_compiled()


def pytest_configure() -> None:
    """Where there is memory to spare, files of tests lie there: SQLite then waits for no disk at each commit."""
    memory = Path("/dev/shm")  # noqa: S108 - pytest makes a folder of its own in it
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2**31:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Sqlite:
    return Sqlite(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    yield server
    server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue("postgres" if request.param == "postgresql" else "sqlite")


@pytest.fixture(scope="session")
def past(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any], Past]:
    """What happened before a test with the cast begins, on an engine: `past(engine)`."""
    return functools.cache(lambda engine: Past(engine, tmp_path_factory.mktemp(f"past_{engine.name}")))


on_sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
"""For tests of what people see and type, where the engine cannot matter: time is better spent on other tests."""


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any], Stage]:
    return functools.cache(lambda engine: Stage(engine, tmp_path_factory.mktemp(f"stage_{engine.name}")))


@pytest.fixture
def settings(request: pytest.FixtureRequest, engine: Any, tmp_path: Path, past: Callable[[Any], Past],
             stage: Callable[[Any], Stage]) -> Iterator[Settings]:
    """A database of its own, with the cast's past when the test has the cast. Tests of `app` share an application."""
    asked = set(request.fixturenames)
    had = past(engine) if asked & {"cast", "played"} else None
    if "app" in asked:
        yield stage(engine).lay(had)
        return
    urls, drop = had.fresh(tmp_path) if had else engine.fresh()
    yield Settings(data_dir=tmp_path, base_url="http://localhost", **urls)
    drop()


@pytest.fixture
def make_app() -> Iterator[Callable[..., Flask]]:
    made: list[Flask] = []

    def make(settings: Settings) -> Flask:
        from wsgi import create_app

        app = create_app(settings)
        app.testing = False  # errors become pages, as in production
        made.append(app)
        return app

    yield make
    for app in made:
        app.extensions["portal"].database.dispose()


@pytest.fixture
def app(settings: Settings, engine: Any, stage: Callable[[Any], Stage]) -> Flask:
    return stage(engine).app(settings)


@pytest.fixture
def house(app: Flask) -> House:
    return app.extensions["portal"]


@pytest.fixture
def cast(house: House, engine: Any, past: Callable[[Any], Past]) -> Cast:
    return past(engine).told_to(house)


@pytest.fixture
def visitor(app: Flask) -> Callable[..., Visitor]:
    """A person with a browser of their own: `visitor()`."""
    return lambda **kwargs: Visitor(app, **kwargs)


@pytest.fixture(autouse=True)
def real_time() -> Iterator[None]:
    yield
    clock.turn(timedelta(0))


@pytest.fixture
def database(settings: Settings) -> Iterator[Any]:
    """A migrated database alone, without an application."""
    from core.db import Database

    one = Database(settings)
    yield one
    one.dispose()


@pytest.fixture
def till_house(settings: Settings, database: Any) -> Iterator[Any]:
    """Database, sandbox, till and worker, without pages: for tests of money that may kill processes."""
    from billing import renewals
    from billing.till import Till
    from core.worker import Handlers, Tick, Worker
    from gateways.sandbox import SandboxGateway

    gateway = SandboxGateway(settings.data_dir / SANDBOX, settings.base_url, "a secret for notifications")
    till = Till(database, gateway, settings)
    gateway.notify = till.notified
    handlers = Handlers()
    handlers.on("gateway.notified", lambda work: till.follow(work.data["key"]), "till.follow")
    ticks = [Tick("sandbox", timedelta(0), gateway.deliver_due), Tick("renewals", timedelta(0), lambda: renewals.run_due(till)),
             Tick("reconcile", timedelta(0), till.reconcile)]
    yield House(settings, database, gateway=gateway, worker=Worker(database, handlers, ticks), till=till, handlers=handlers)


class Street(Cast):
    """The cast behind the doors of a whole application."""

    app: Flask


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def street(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, past: Callable[[Any], Past]) -> Iterator[Street]:
    """The cast in a whole application: `street.house`, `street.app`."""
    from wsgi import create_app

    engine: Any = request.getfixturevalue("postgres" if request.param == "postgresql" else "sqlite")
    folder = tmp_path_factory.mktemp("street")
    urls, drop = past(engine).fresh(folder)
    app = create_app(Settings(data_dir=folder, base_url="http://localhost", **urls))
    app.testing = False  # errors become pages, as in production
    street = Street(**vars(past(engine).told_to(app.extensions["portal"])))
    street.app = app
    yield street
    street.house.database.dispose()
    drop()
