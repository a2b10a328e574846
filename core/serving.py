"""The production server: granian speaks HTTP, `core.edge.Edge` decides what gets a thread."""

from __future__ import annotations

import resource
from copy import deepcopy
from typing import Any

HEADER_SECONDS = 10  # for the lines of a request to arrive, and for a connection to stay open between two requests
HEADER_BYTES = 32 * 1024  # request line and headers
CONNECTIONS = 4096  # at once, per process; each open one costs little as long as it waits
KILL_AFTER = 30  # seconds that requests have to end after SIGTERM


def serve(target: str, host: str, port: int, processes: int) -> None:
    """Serve the ASGI factory `module:name` until SIGTERM or SIGINT."""
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces, Loops
    from granian.http import HTTP1Settings
    from granian.log import LOGGING_CONFIG

    logging: dict[str, Any] = deepcopy(LOGGING_CONFIG)
    logging["loggers"]["_granian.asgi.io"] = {"level": "ERROR", "propagate": False}  # a line for every client that hangs up
    Granian(
        target, factory=True, address=host, port=port, interface=Interfaces.ASGINL, workers=processes, loop=Loops.asyncio,
        http=HTTPModes.http1, http1_settings=HTTP1Settings(header_read_timeout=HEADER_SECONDS * 1000, max_buffer_size=HEADER_BYTES),
        websockets=False, backlog=1024, backpressure=_connections(), workers_kill_timeout=KILL_AFTER, log_access=False,
        log_dictconfig=logging,
    ).serve()


def _connections() -> int:
    """Raise the limit of open files as far as it may go, and leave some for databases, documents and answers of others."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + 512
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(min(CONNECTIONS, max(allowed, soft) - 512), 64)
