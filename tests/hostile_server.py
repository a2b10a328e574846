"""A misbehaving HTTP server: it drips, floods, redirects, stalls or disconnects."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class ReceivedRequest:
    """One received request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float


@dataclass
class Receiver:
    """`answer(handler, heard)` writes the response; `heard` has all received requests, in order."""

    url: str
    port: int
    heard: list[ReceivedRequest] = field(default_factory=list)
    answer: Callable[[Wire, ReceivedRequest], None] = lambda wire, _: wire.say(200, b"ok")
    names: list[str | None] = field(default_factory=list)  # SNI of each TLS connection


class Wire(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server  # type: ignore[assignment]

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True  # the client disconnected, which some tests check

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        item = ReceivedRequest(
            self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body, time.monotonic()
        )
        self.server.receiver.heard.append(item)
        self.server.receiver.answer(self, item)

    do_GET = do_PUT = do_POST

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def drip(self, seconds: float) -> None:
        """Send headers at once, then one byte every 20 ms, so that each read is quick and the response never ends."""
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.wfile.write(b".")
            self.wfile.flush()
            time.sleep(0.02)
        self.close_connection = True

    def flood(self, count: int) -> int:
        """Send `count` bytes without a length. Returns how many were sent before the client disconnected."""
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        sent = 0
        try:
            while sent < count:
                sent += self.wfile.write(b"x" * 65536)
        except OSError:
            pass
        self.close_connection = True
        return sent

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    receiver: Receiver

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@contextmanager
def receiving(answer: Callable[[Wire, ReceivedRequest], None] | None = None, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Run a server on a free loopback port for the duration of the block."""
    server = Server(("127.0.0.1", 0), Wire)
    port = server.server_address[1]
    receiver = Receiver(f"{'https' if tls else 'http'}://127.0.0.1:{port}", port)
    if answer:
        receiver.answer = answer
    server.receiver = receiver
    if tls:
        tls.sni_callback = lambda _sock, name, _context: receiver.names.append(name)
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
