"""One cast per module and engine: these tests look, they do not change what they find."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from core.db import Database
from core.settings import Settings
from core.web import House
from tests.cast import Cast


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def town(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    """The cast on a database of its own, without pages. `town.house.database` is the portal's, `town.engine` the server."""
    from billing.till import Till
    from gateways.sandbox import SandboxGateway

    engine: Any = request.getfixturevalue("postgres" if request.param == "postgresql" else "sqlite")
    folder = tmp_path_factory.mktemp("town")
    urls, drop = engine.fresh()
    settings = Settings(data_dir=folder, base_url="http://localhost", **urls)
    database = Database(settings)
    gateway = SandboxGateway(folder / "sandbox.sqlite3", settings.base_url, "a secret for notifications")
    cast = Cast.play(House(settings, database, gateway=gateway, till=Till(database, gateway, settings)))
    yield cast
    database.dispose()
    drop()


class Street(Cast):
    """The cast behind the doors of a whole application."""

    app: Flask


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def street(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    """The cast in a whole application: `street.house`, `street.app`."""
    from wsgi import create_app

    engine: Any = request.getfixturevalue("postgres" if request.param == "postgresql" else "sqlite")
    urls, drop = engine.fresh()
    app = create_app(Settings(data_dir=tmp_path_factory.mktemp("street"), base_url="http://localhost", **urls))
    app.testing = False  # errors become pages, as in production
    with app.app_context():
        cast = Street.play(app.extensions["portal"])
    cast.app = app
    yield cast
    cast.house.database.dispose()
    drop()
