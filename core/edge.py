"""ASGI server side: read each request completely before it gets a thread, and send responses without one.

`Edge(app)` is an ASGI application around the Flask one. One event loop does all waiting for clients. A client that sends
or reads slowly occupies a connection, never a thread. Bodies and responses in memory share `MEMORY` bytes; above that, the
oldest requests are dropped.
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

from core import request_limits
from core.health import REFUSED
from core.proxies import TrustedProxies
from core.request_threads import Threads
from core.wsgi_environ import environ_of

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Answer = tuple[int, list[tuple[bytes, bytes]], bytes]

log = structlog.get_logger()
PATIENCE = 20.0  # seconds for a body or a response, plus the time for its size at SLOWEST
SLOWEST = 16 * 1024  # bytes per second that a client must send or receive
MEMORY = 64 * 1024 * 1024  # bytes of bodies and responses that wait for clients or for a thread
WAIT = 30.0  # seconds for a thread
CHUNK = 64 * 1024
DRAINED = 32 * 1024 * 1024  # bytes of a too large body that are read and dropped, so that its client can read the response
PROBES = frozenset({"/healthz", "/readyz"})
_SHORT = {408: b"The request did not arrive in time.", 503: b"Too many requests at once. Please try again in a moment."}


class BufferedRequest:
    """One request: its bytes in memory, and the time limit of its current wait."""

    def __init__(self) -> None:
        self.size = 0
        self._limit: asyncio.Timeout | None = None
        self._given_up = False

    @asynccontextmanager
    async def waits(self, seconds: float) -> AsyncIterator[None]:
        """Raise TimeoutError after `seconds`, or when the request is dropped. Outside this context a request is not dropped."""
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
    """The bytes in memory of all requests, oldest request first."""

    def __init__(self, most: int) -> None:
        self.most, self.total = most, 0
        self.held: dict[BufferedRequest, None] = {}

    def add(self, buffered_request: BufferedRequest, size: int) -> None:
        self.held.setdefault(buffered_request)
        buffered_request.size += size
        self.total += size
        for oldest in list(self.held) if self.total > self.most else ():
            if oldest.give_up():
                self.drop(oldest)
            if self.total <= self.most:
                break

    def drop(self, buffered_request: BufferedRequest) -> None:
        self.total -= buffered_request.size
        buffered_request.size = 0
        self.held.pop(buffered_request, None)


class Edge:
    """`threads`: number of requests that this process handles at the same time."""

    def __init__(self, app: Flask, threads: int = 4, memory: int = MEMORY, trusted: TrustedProxies | None = None) -> None:
        self.app = app
        self.trusted = trusted or TrustedProxies()
        self.memory = Memory(memory)
        self.pages = Threads(threads, "page")
        self.probes = Threads(2, "probe")  # separate threads, so that probes are answered while all others are busy
        self.scrapes = Threads(1, "scrape")

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        buffered_request = BufferedRequest()
        try:
            await self._serve(buffered_request, scope, receive, send)
        finally:
            self.memory.drop(buffered_request)

    async def _serve(self, buffered_request: BufferedRequest, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        limit = request_limits.body_limit(self.app, scope["method"], scope["path"])
        try:
            async with buffered_request.waits(PATIENCE):
                body, length, too_large = await self._read(buffered_request, scope, receive, limit)
        except TimeoutError:
            return await _refuse(send, 408, "slow body")
        except ConnectionError:
            return
        with body:
            environ = environ_of(scope, body, length)
            environ[request_limits.TOO_LARGE] = too_large
            threads = self.probes if scope["path"] in PROBES else self.scrapes if scope["path"] == "/metrics" else self.pages
            try:
                async with buffered_request.waits(WAIT):
                    await threads.take(self._client(environ))
            except TimeoutError:
                return await _refuse(send, 503, "busy")
            status, headers, content = await threads.run(self._run, environ)
        try:
            async with buffered_request.waits(PATIENCE + len(content) / SLOWEST):
                self.memory.add(buffered_request, len(content))
                await _send(send, status, headers, content)
        except TimeoutError:  # returning ends the connection
            REFUSED.labels("slow reader").inc()
            log.info("request dropped", why="slow reader")

    async def _read(
        self, buffered_request: BufferedRequest, scope: MutableMapping[str, Any], receive: Receive, limit: int
    ) -> tuple[IO[bytes], int, bool]:
        """Return (body, length, whether it is larger than `limit`). Raises ConnectionError when the client disconnected."""
        body: IO[bytes] = tempfile.SpooledTemporaryFile(request_limits.MAX_BODY)
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
                self.memory.add(buffered_request, len(chunk))
                body.write(chunk)
            buffered_request.until(began + PATIENCE + length / SLOWEST)
        if too_large:
            body.close()
            return io.BytesIO(), 0, True
        body.seek(0)
        return body, length, False

    def _client(self, environ: dict[str, Any]) -> str:
        """Return the client for the queue: its address behind the trusted proxies, or its /64 network with IPv6."""
        forwarded = environ.get("HTTP_X_FORWARDED_FOR", "")
        address = self.trusted.client(environ["REMOTE_ADDR"], forwarded[-2000:].split(",") if forwarded else ())
        return ":".join(address.split(":")[:4]) if ":" in address else address

    def _run(self, environ: dict[str, Any]) -> Answer:
        """Return the application's complete response."""
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
            log.exception("application failed")
            return 500, [(b"content-type", b"text/plain; charset=utf-8")], b"Something went wrong on our side."
        return head[0], head[1], b"".join(written)


async def _refuse(send: Send, status: int, why: str) -> None:
    REFUSED.labels(why).inc()
    log.info("request refused", status=status, why=why)
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close"), (b"retry-after", b"2")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": _SHORT[status]})


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], content: bytes) -> None:
    """Send in chunks, so that a slow client is noticed."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for at in range(0, len(content), CHUNK):
        await send({"type": "http.response.body", "body": content[at : at + CHUNK], "more_body": at + CHUNK < len(content)})
    if not content:
        await send({"type": "http.response.body", "body": b""})
