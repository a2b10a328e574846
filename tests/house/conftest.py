"""One cast per module and engine: these tests look, they do not change what they find."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core.db import Database
from core.settings import Settings
from core.web import House
from tests.cast import Cast
from tests.quick import Past


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def town(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, past: Callable[[Any], Past]) -> Iterator[Cast]:
    """The cast on a database of its own, without pages. `town.house.database` is the portal's, `town.engine` the server."""
    from billing.till import Till
    from gateways.sandbox import SandboxGateway

    engine: Any = request.getfixturevalue("postgres" if request.param == "postgresql" else "sqlite")
    folder = tmp_path_factory.mktemp("town")
    urls, drop = past(engine).fresh(folder)
    settings = Settings(data_dir=folder, base_url="http://localhost", **urls)
    database = Database(settings)
    gateway = SandboxGateway(folder / "sandbox.sqlite3", settings.base_url, "a secret for notifications")
    yield past(engine).told_to(House(settings, database, gateway=gateway, till=Till(database, gateway, settings)))
    database.dispose()
    drop()
