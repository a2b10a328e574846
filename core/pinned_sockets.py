"""Sockets for core/outgoing.py: connect to a checked address, with one deadline for the whole request.

httpcore's time limits apply to each read and write, so a server that sends one byte a second could occupy a thread forever.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable
from typing import Any

import httpcore


class Deadline:
    """An instant on the monotonic clock, `seconds` from now."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    def left(self, wanted: float | None = None) -> float:
        """Return the seconds left, at most `wanted`. Raises TimeoutError when none are left."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline of the request has passed")
        return left if wanted is None else min(left, wanted)


class PinnedTransport(httpcore.NetworkBackend):
    """Connects to `addresses` for every host name. `sent`: a part of the request may have been sent."""

    def __init__(self, addresses: list[str], deadline: Deadline) -> None:
        self.addresses = addresses
        self.deadline = deadline
        self.sent = False

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        problem: OSError | None = None
        for number, address in enumerate(self.addresses):
            try:
                share = self.deadline.left(timeout) / (len(self.addresses) - number)
                sock = socket.create_connection((address, port), share)
            except OSError as failed:  # includes TimeoutError
                problem = failed
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return Stream(sock, self)
        raise httpcore.ConnectError(str(problem)) from problem


class Stream(httpcore.NetworkStream):
    def __init__(self, sock: socket.socket, pinned: PinnedTransport) -> None:
        self._sock = sock
        self._pinned = pinned

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            self._sock.settimeout(self._pinned.deadline.left(timeout))
            return self._sock.recv(max_bytes)
        except TimeoutError as late:
            raise httpcore.ReadTimeout(str(late)) from late
        except OSError as broken:
            raise httpcore.ReadError(str(broken)) from broken

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view = memoryview(buffer)
        self._pinned.sent = self._pinned.sent or bool(buffer)
        try:
            while view:
                self._sock.settimeout(self._pinned.deadline.left(timeout))
                view = view[self._sock.send(view) :]
        except TimeoutError as late:
            raise httpcore.WriteTimeout(str(late)) from late
        except OSError as broken:
            raise httpcore.WriteError(str(broken)) from broken

    def close(self) -> None:
        self._sock.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            self._sock.settimeout(self._pinned.deadline.left(timeout))
            return Stream(ssl_context.wrap_socket(self._sock, server_hostname=server_hostname), self._pinned)
        except TimeoutError as late:
            self.close()
            raise httpcore.ConnectTimeout(str(late)) from late
        except OSError as refused:  # includes ssl.SSLError, such as a wrong or untrusted certificate
            self.close()
            raise httpcore.ConnectError(str(refused)) from refused

    def get_extra_info(self, info: str) -> Any:
        if info == "ssl_object" and isinstance(self._sock, ssl.SSLSocket):
            return self._sock._sslobj  # type: ignore[attr-defined]
        if info == "server_addr":
            return self._sock.getpeername()
        return self._sock if info == "socket" else None
