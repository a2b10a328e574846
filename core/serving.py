"""The production server: granian (HTTP), `core.edge.Edge` (threads) and `core.supervisor` (processes)."""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from copy import deepcopy
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LOGGING_CONFIG
from granian.net import SocketHolder  # type: ignore[attr-defined]
from granian.server import MPServer

from core.lifecycle import Lifecycle
from core.serving_process import DRAIN, READY
from core.setting_values import Misconfigured
from core.supervisor import Supervisor

HEADER_SECONDS = 10  # time for the header of a request, and idle time of a connection between two requests
HEADER_BYTES = 32 * 1024  # request line and headers
CONNECTIONS = 4096  # at once, per process; a waiting connection costs little
BACKLOG = 1024  # connections that wait to be accepted
KILL_AFTER = 30  # seconds for requests to end after SIGTERM


def serve(target: str, host: str, port: int, processes: int, *, delay: float = 0.0, overlap: bool = True) -> None:
    """Serve the ASGI factory `module:name` until SIGTERM or SIGINT. `delay` and `overlap` as in `Supervisor`.

    Raises Misconfigured if the address cannot be used.
    """
    logging: dict[str, Any] = deepcopy(LOGGING_CONFIG)
    logging["loggers"]["_granian.asgi.io"] = {"level": "ERROR", "propagate": False}  # it logs a line for every client that disconnects
    server = _Processes(
        target,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        workers=processes,
        loop=Loops.asyncio,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_SECONDS * 1000, max_buffer_size=HEADER_BYTES),
        websockets=False,
        backlog=BACKLOG,
        backpressure=_connections(),
        log_access=False,
        log_dictconfig=logging,
    )
    server.delay, server.overlap = delay, overlap
    server.serve()


class _Processes(MPServer):
    """granian's processes on one listening socket of this process, with our own supervisor."""

    delay: float
    overlap: bool

    def _serve(self, spawn_target: Any, _target_loader: Any) -> None:
        listener = _listen(self.bind_addr, self.bind_port)
        holder = SocketHolder(listener.fileno(), False, BACKLOG)  # type: ignore[call-arg]  # what its __getstate__ gives
        self._ssp, self._sso, self._shd = None, listener, holder  # type: ignore[assignment]

        def make(number: int, link: Connection) -> Any:
            return self._spawn_worker(number, spawn_target, _Process(self.target, link, os.getpid())).inner

        Supervisor(self.workers, make, listener.close, limit=KILL_AFTER, delay=self.delay, overlap=self.overlap).run()


def _listen(host: str, port: int) -> socket.socket:
    ipv6 = ":" in host
    try:
        listener = socket.create_server(
            (host, port),
            family=socket.AF_INET6 if ipv6 else socket.AF_INET,
            backlog=BACKLOG,
            dualstack_ipv6=ipv6 and socket.has_dualstack_ipv6(),
        )
    except OSError as wrong:
        raise Misconfigured(f"Cannot listen on {host}, port {port}: {wrong.strerror or wrong}.") from wrong
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setblocking(False)
    listener.set_inheritable(True)
    return listener


@dataclass
class _Process:
    """The start of a serving process. It is pickled, so it holds plain values only."""

    target: str
    link: Connection
    parent: int

    def __call__(self) -> Callable[[Any, Any, Any], Awaitable[None]]:
        """Create the ASGI application of this process."""
        signal.set_wakeup_fd(-1)  # a forked process inherits the supervisor's handlers
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all processes; the supervisor sends SIGTERM
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        threading.Thread(target=self._end_with_parent, name="supervisor gone", daemon=True).start()
        module, _, name = self.target.partition(":")
        try:
            edge = getattr(import_module(module), name)()
        except Misconfigured as wrong:
            wrong.show()
            sys.exit(wrong.exit_code)
        self.lifecycle: Lifecycle = edge.app.extensions["portal"].lifecycle
        threading.Thread(target=self._listen, name="supervisor", daemon=True).start()

        async def application(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan":
                await self._lifespan(receive, send)
            else:
                await edge(scope, receive, send)

        return application

    async def _lifespan(self, receive: Any, send: Any) -> None:
        """https://asgi.readthedocs.io/en/latest/specs/lifespan.html"""
        import asyncio

        await receive()
        self.link.send(READY)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.to_thread(self.lifecycle.finish, KILL_AFTER)
        await send({"type": "lifespan.shutdown.complete"})

    def _listen(self) -> None:
        try:
            while self.link.recv() != DRAIN:
                pass
        except (EOFError, OSError):
            return
        self.lifecycle.drain()

    def _end_with_parent(self) -> None:
        """End this process if its supervisor was killed."""
        pause = threading.Event()
        while os.getppid() == self.parent:
            pause.wait(1.0)
        os.kill(os.getpid(), signal.SIGTERM)


def _connections() -> int:
    """Raise the limit of open files. Return how many connections fit, with a reserve for databases, files and outgoing calls."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + 512
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(min(CONNECTIONS, max(allowed, soft) - 512), 64)
