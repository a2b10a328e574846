"""Shared fixtures: both engines, a complete application, the cast, and browsers of people.

`engine` runs a test on SQLite and on PostgreSQL; `services` is a wired application on a new database; `cast` fills it with Ada (buys from
Acorn and Birch), Ben (Birch only), Mallory (neither) and Sam's business Acorn.
"""

from __future__ import annotations

import functools
import gc
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from core import clock
from core.services import Services
from core.settings import Settings
from tests.cast import Cast
from tests.engines import Postgres, Sqlite
from tests.processors import on_sandbox
from tests.shared_applications import SANDBOX, Past, Stage, share_what_is_compiled
from tests.visitor import Visitor

share_what_is_compiled()


def pytest_configure() -> None:
    """Store test files in memory if there is enough, so that SQLite waits for no disk at commits."""
    memory = Path("/dev/shm")  # noqa: S108 - pytest makes a folder of its own in it
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2**31:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))


def pytest_collection_finish() -> None:
    """Leave what lives as long as the process out of garbage collection, and collect seldom: this saves a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 20)


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
    """Return the history of the cast on an engine: `past(engine)`."""
    return functools.cache(lambda engine: Past(engine, tmp_path_factory.mktemp(f"past_{engine.name}")))


on_sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
"""For tests of what people see and type, where the engine cannot matter: time is better spent on other tests."""


@pytest.hookimpl(tryfirst=True)  # before pytest reads these marks
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of a module marked `one_engine` on SQLite only. Unlike `on_sqlite`, it applies to tests with `street`, too."""
    if metafunc.definition.get_closest_marker("one_engine"):
        for name, scope in (("engine", "function"), ("street", "module")):
            if name in metafunc.fixturenames:
                metafunc.definition.add_marker(pytest.mark.parametrize(name, ["sqlite"], indirect=True, scope=scope))
                return


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any], Stage]:
    return functools.cache(lambda engine: Stage(engine, tmp_path_factory.mktemp(f"stage_{engine.name}")))


@pytest.fixture
def settings(
    request: pytest.FixtureRequest, engine: Any, tmp_path: Path, past: Callable[[Any], Past], stage: Callable[[Any], Stage]
) -> Iterator[Settings]:
    """A separate database, with the history of the cast if the test uses the cast. Tests with `app` share an application."""
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
def services(app: Flask) -> Services:
    return app.extensions["portal"]


@pytest.fixture
def cast(services: Services, engine: Any, past: Callable[[Any], Past]) -> Cast:
    return past(engine).for_services(services)


@pytest.fixture
def visitor(app: Flask) -> Callable[..., Visitor]:
    """Return a person with a separate browser: `visitor()`."""
    return lambda **kwargs: Visitor(app, **kwargs)


@pytest.fixture(autouse=True)
def real_time() -> Iterator[None]:
    yield
    clock.turn(timedelta(0))


@pytest.fixture
def database(settings: Settings) -> Iterator[Any]:
    """A migrated database without an application."""
    from core.db import Database

    item = Database(settings)
    yield item
    item.dispose()


@pytest.fixture
def processor_services(settings: Settings, database: Any) -> Iterator[Any]:
    """Database, sandbox, payment processor and worker without pages, for tests of payments that kill processes."""
    from billing.renewals import renew
    from core.handlers import Handlers
    from core.worker import Tick, Worker
    from gateways.sandbox import SandboxGateway

    gateway = SandboxGateway(settings.data_dir / SANDBOX, settings.base_url, "a secret for notifications")
    handlers = Handlers()
    processor = on_sandbox(database, gateway, settings, handlers)
    ticks = [
        Tick("sandbox", timedelta(0), gateway.deliver_due),
        Tick("renewals", timedelta(0), lambda: renew.run_due(processor)),
        Tick("reconcile", timedelta(0), processor.reconcile),
    ]
    yield Services(settings, database, gateway=gateway, worker=Worker(database, handlers, ticks), processor=processor, handlers=handlers)


class Street(Cast):
    """The cast in a complete application."""

    app: Flask


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def street(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, past: Callable[[Any], Past]) -> Iterator[Street]:
    """The cast in a complete application: `street.services`, `street.app`."""
    from wsgi import create_app

    engine: Any = request.getfixturevalue("postgres" if request.param == "postgresql" else "sqlite")
    folder = tmp_path_factory.mktemp("street")
    urls, drop = past(engine).fresh(folder)
    app = create_app(Settings(data_dir=folder, base_url="http://localhost", **urls))
    app.testing = False  # errors become pages, as in production
    street = Street(**vars(past(engine).for_services(app.extensions["portal"])))
    street.app = app
    yield street
    street.services.database.dispose()
    drop()
