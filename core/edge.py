"""Between the network and the application: a request is read whole before it takes a thread, and its answer is sent by none.

`Edge(app)` is what the server runs, an ASGI application around the Flask one. All waiting for clients happens in one event loop:
slow headers (the server's own limit), slow bodies, and clients that read slowly hold a connection, never one of the threads in
which pages are made. Bodies and answers that wait share `MEMORY` bytes; past that, those that began first are given up.
"""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import IO, Any

import structlog
from flask import Flask

from core import bounds
from core.environ import environ_of
from core.health import REFUSED
from core.proxies import TrustedProxies
from core.threads import Threads

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Answer = tuple[int, list[tuple[bytes, bytes]], bytes]

log = structlog.get_logger()
PATIENCE = 20.0  # seconds for a body or an answer, and besides
SLOWEST = 16 * 1024  # bytes a second that a client takes or sends at least
MEMORY = 64 * 1024 * 1024  # bytes of bodies and answers that wait for clients or for a thread
WAIT = 30.0  # seconds for a thread
CHUNK = 64 * 1024
DRAINED = 32 * 1024 * 1024  # bytes of a body that is too large, read and dropped, so that its client can read the answer
PROBES = frozenset({"/healthz", "/readyz"})
_SHORT = {408: b"The request did not arrive in time.", 503: b"Too many requests at once. Please try again in a moment."}


class Held:
    """One request: the bytes it holds, and the time limit of what it waits for at present."""

    def __init__(self) -> None:
        self.size = 0
        self._limit: asyncio.Timeout | None = None
        self._given_up = False

    @asynccontextmanager
    async def waits(self, seconds: float) -> AsyncIterator[None]:
        """Raises TimeoutError after that, or once it is given up. Outside of it a request is being answered and stays."""
        try:
            async with asyncio.timeout(0 if self._given_up else seconds) as self._limit:
                yield
        finally:
            self._limit = None

    def until(self, when: float) -> None:
        if self._limit is not None and not self._limit.expired() and not self._given_up:
            self._limit.reschedule(when)

    def give_up(self) -> bool:
        if self._limit is None or self._limit.expired():
            return False
        self._limit.reschedule(asyncio.get_running_loop().time())
        self._given_up = True
        return True


class Memory:
    """The bytes that all requests hold, oldest request first."""

    def __init__(self, most: int) -> None:
        self.most, self.total = most, 0
        self.held: dict[Held, None] = {}

    def add(self, one: Held, size: int) -> None:
        self.held.setdefault(one)
        one.size += size
        self.total += size
        for oldest in list(self.held) if self.total > self.most else ():
            if oldest.give_up():
                self.drop(oldest)
            if self.total <= self.most:
                break

    def drop(self, one: Held) -> None:
        self.total -= one.size
        one.size = 0
        self.held.pop(one, None)


class Edge:
    """`threads`: pages made at the same time by this process."""

    def __init__(self, app: Flask, threads: int = 4, memory: int = MEMORY, trusted: TrustedProxies | None = None) -> None:
        self.app = app
        self.trusted = trusted or TrustedProxies()
        self.memory = Memory(memory)
        self.pages = Threads(threads, "page")
        self.probes = Threads(2, "probe")  # of their own: they answer while every other thread is busy

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        one = Held()
        try:
            await self._serve(one, scope, receive, send)
        finally:
            self.memory.drop(one)

    async def _serve(self, one: Held, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        limit = bounds.body_limit(self.app, scope["method"], scope["path"])
        try:
            async with one.waits(PATIENCE):
                body, length, too_large = await self._read(one, scope, receive, limit)
        except TimeoutError:
            return await _refuse(send, 408, "slow body")
        except ConnectionError:
            return
        with body:
            environ = environ_of(scope, body, length)
            environ[bounds.TOO_LARGE] = too_large
            threads = self.probes if scope["path"] in PROBES else self.pages
            try:
                async with one.waits(WAIT):
                    await threads.take(self._client(environ))
            except TimeoutError:
                return await _refuse(send, 503, "busy")
            status, headers, content = await threads.run(self._run, environ)
        try:
            async with one.waits(PATIENCE + len(content) / SLOWEST):
                self.memory.add(one, len(content))
                await _send(send, status, headers, content)
        except TimeoutError:  # leaving here ends the connection
            REFUSED.labels("slow reader").inc()
            log.info("given up", why="slow reader")

    async def _read(self, one: Held, scope: MutableMapping[str, Any], receive: Receive, limit: int) -> tuple[IO[bytes], int, bool]:
        """(the body, its length, whether it is larger than `limit`). Raises ConnectionError when the client went away."""
        body: IO[bytes] = tempfile.SpooledTemporaryFile(bounds.MAX_BODY)
        began, length, dropped = asyncio.get_running_loop().time(), 0, 0
        headers = dict(scope["headers"])
        declared = headers.get(b"content-length", b"0")
        too_large = declared.isdigit() and int(declared) > limit
        more = declared != b"0" or b"transfer-encoding" in headers
        while more and dropped < DRAINED:
            message = await receive()
            if message["type"] == "http.disconnect":
                body.close()
                raise ConnectionError()
            chunk, more = message.get("body", b""), message.get("more_body", False)
            length += len(chunk)
            if too_large or length > limit:
                too_large, dropped = True, dropped + len(chunk)
            else:
                self.memory.add(one, len(chunk))
                body.write(chunk)
            one.until(began + PATIENCE + length / SLOWEST)
        if too_large:
            body.close()
            return io.BytesIO(), 0, True
        body.seek(0)
        return body, length, False

    def _client(self, environ: dict[str, Any]) -> str:
        """Who takes turns: an address behind the trusted proxies, or the /64 that one line gets with IPv6."""
        forwarded = environ.get("HTTP_X_FORWARDED_FOR", "")
        address = self.trusted.client(environ["REMOTE_ADDR"], forwarded[-2000:].split(",") if forwarded else ())
        return ":".join(address.split(":")[:4]) if ":" in address else address

    def _run(self, environ: dict[str, Any]) -> Answer:
        """The application's answer, whole."""
        head: list[Any] = []
        written: list[bytes] = []

        def start(status: str, headers: list[tuple[str, str]], _problem: Any = None) -> Callable[[bytes], object]:
            head[:] = [int(status[:3]), [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]]
            return written.append

        try:
            parts = self.app(environ, start)
            try:
                written.extend(parts)
            finally:
                if close := getattr(parts, "close", None):
                    close()
        except Exception:
            log.exception("the application broke")
            return 500, [(b"content-type", b"text/plain; charset=utf-8")], b"Something broke on our side."
        return head[0], head[1], b"".join(written)


async def _refuse(send: Send, status: int, why: str) -> None:
    REFUSED.labels(why).inc()
    log.info("refused", status=status, why=why)
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close"), (b"retry-after", b"2")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": _SHORT[status]})


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], content: bytes) -> None:
    """In pieces, so that the server tells us how fast the client reads."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for at in range(0, len(content), CHUNK):
        await send({"type": "http.response.body", "body": content[at : at + CHUNK], "more_body": at + CHUNK < len(content)})
    if not content:
        await send({"type": "http.response.body", "body": b""})
