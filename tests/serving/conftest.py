from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.quick import Past
from tests.serving.server import Served, serving


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, past: Callable[[Any], Past], sqlite: Any) -> Iterator[Served]:
    """One server for all attacks of a file: each must leave it as it was."""
    folder = tmp_path_factory.mktemp("served")
    urls, drop = past(sqlite).fresh(folder)
    with serving(folder, urls) as one:
        yield one
    drop()


@pytest.fixture
def served(running: Served) -> Iterator[Served]:
    yield running
    for one in running.sockets:
        one.close()
    running.sockets.clear()
    assert running.process.poll() is None
