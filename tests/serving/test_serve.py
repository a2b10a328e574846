"""`flask serve` runs the worker inside, several processes, and shuts down in order."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.serving.server import serving
from tests.shared_applications import Past


def test_several_processes_serve_with_the_worker_inside(tmp_path: Path, postgres: Any, past: Callable[[Any], Past]) -> None:
    urls, drop = past(postgres).fresh(tmp_path)
    with serving(tmp_path, urls, processes=2, DATABASE_OWNER_URL=urls["database_owner_url"]) as served:
        assert all(served.ask("GET", path)[0] == 200 for path in ("/healthz", "/readyz", "/login") * 5)
        assert served.seconds_to_email("ada@marlow.example") < 15
    drop()


def test_running_requests_are_answered_before_shutdown(tmp_path: Path, sqlite: Any, past: Callable[[Any], Past]) -> None:
    urls, drop = past(sqlite).fresh(tmp_path)
    with serving(tmp_path, urls) as served:
        begun = served.connect(served.head("POST", "/api/licenses/validate", "Content-Type: application/json", "Content-Length: 24") + b"{")
        time.sleep(0.5)
        served.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        begun.sendall(b'"license_key": "none"}'.ljust(23))
        assert begun.recv(12) == b"HTTP/1.1 200"
        assert served.process.wait(40) == 0
    drop()
