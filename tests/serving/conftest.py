from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.serving.server import Served, serving
from tests.shared_applications import Past


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, past: Callable[[Any], Past], sqlite: Any) -> Iterator[Served]:
    """One server for all attacks of a file. Each attack must leave it working."""
    folder = tmp_path_factory.mktemp("served")
    urls, drop = past(sqlite).fresh(folder)
    with serving(folder, urls) as item:
        yield item
    drop()


@pytest.fixture
def served(running: Served) -> Iterator[Served]:
    yield running
    for socket in running.sockets:
        socket.close()
    running.sockets.clear()
    assert running.process.poll() is None
