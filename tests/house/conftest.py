"""One cast per module and engine, because these tests only read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core.db import Database
from core.services import Services
from core.settings import Settings
from tests.cast import Cast
from tests.processors import on_sandbox
from tests.shared_applications import Past


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def town(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, past: Callable[[Any], Past]) -> Iterator[Cast]:
    """The cast on a separate database, without pages. `town.services.database` is the portal's, `town.engine` the server."""
    from gateways.sandbox import SandboxGateway

    engine: Any = request.getfixturevalue("postgres" if request.param == "postgresql" else "sqlite")
    folder = tmp_path_factory.mktemp("town")
    urls, drop = past(engine).fresh(folder)
    settings = Settings(data_dir=folder, base_url="http://localhost", **urls)
    database = Database(settings)
    gateway = SandboxGateway(folder / "sandbox.sqlite3", settings.base_url, "a secret for notifications")
    yield past(engine).for_services(Services(settings, database, gateway=gateway, processor=on_sandbox(database, gateway, settings)))
    database.dispose()
    drop()
