"""A TCP proxy in front of PostgreSQL that can be cut or stop forwarding, so that one application loses its database."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy.engine import make_url


class DatabaseProxy:
    """`url(original)` leads through the proxy. `up = False` refuses and breaks connections; `silent = True` forwards nothing."""

    def __init__(self, target: tuple[str, int] | str) -> None:
        self.target = target
        self.up, self.silent = True, False
        self.passed = 0  # bytes in both directions
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, original: str) -> str:
        parsed = make_url(original)
        query = {name: value for name, value in parsed.query.items() if name not in ("host", "port")}
        return parsed.set(host="127.0.0.1", port=self.port, query=query).render_as_string(hide_password=False)

    def cut(self) -> None:
        """Break every connection and refuse new ones, like a stopped database."""
        self.up = False
        for item in list(self._sockets):
            with suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)
            item.close()
        self._sockets.clear()

    def restore(self) -> None:
        self.up, self.silent = True, False

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self.up:
                client.close()
                continue
            server = socket.socket(socket.AF_UNIX if isinstance(self.target, str) else socket.AF_INET)
            server.connect(self.target)
            self._sockets |= {client, server}
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                while self.silent and self.up:
                    threading.Event().wait(0.02)
                sink.sendall(data)
                self.passed += len(data)
        for item in (source, sink):
            with suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)


@contextmanager
def database_proxy(url: str) -> Iterator[DatabaseProxy]:
    """Start a proxy in front of the server of a SQLAlchemy URL (TCP, or a Unix socket given as `?host=`)."""
    parsed = make_url(url)
    host = parsed.host or str(parsed.query.get("host") or "127.0.0.1")
    port = int(parsed.port or str(parsed.query.get("port") or 5432))
    item = DatabaseProxy(f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port))
    try:
        yield item
    finally:
        item.close()
