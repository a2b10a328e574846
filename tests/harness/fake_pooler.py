"""A connection pooler that behaves like PgBouncer where it matters here, for machines without one.

Each transaction of a client gets the next server connection, so that state left on a connection is missed at once. Message formats:
PostgreSQL documentation 55.7. It supports neither COPY nor passwords: the server must trust it.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy.engine import make_url

Mode = Literal["session", "transaction", "statement"]
_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102
SERVERS = 3  # connections to the database that take turns


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def read(source: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = source.recv(count - len(data))
        if not more:
            raise ConnectionError
        data += more
    return data


def receive(source: socket.socket) -> tuple[bytes, bytes]:
    kind = read(source, 1)
    (length,) = struct.unpack("!I", read(source, 4))
    return kind, read(source, length - 4)


@dataclass
class Server:
    """A connection to the database."""

    socket: socket.socket
    greeting: bytes  # the parameters it announced
    has: set[bytes] = field(default_factory=set)  # prepared statements, by the names they have there


@dataclass
class Client:
    number: int
    statements: dict[bytes, tuple[bytes, bytes]] = field(default_factory=dict)  # its name → (name at the server, the rest of Parse)
    prepared: int = 0


class FakePooler:
    """`follows_statements`: prepared statements work on any connection, as with `max_prepared_statements`."""

    def __init__(self, target: tuple[str, int] | str, mode: Mode, follows_statements: bool) -> None:
        self.target, self.mode, self.follows_statements = target, mode, follows_statements
        self._idle: dict[bytes, deque[Server]] = {}
        self._lock = threading.Lock()
        self._clients = 0
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, original: str) -> str:
        port = self._listener.getsockname()[1]
        query = {name: value for name, value in make_url(original).query.items() if name not in ("host", "port")}
        return make_url(original).set(host="127.0.0.1", port=port, query=query).render_as_string(hide_password=False)

    def close(self) -> None:
        for item in (self._listener, *self._sockets):
            with suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)
            item.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _connect(self, startup: bytes) -> Server:
        server = socket.socket(socket.AF_UNIX if isinstance(self.target, str) else socket.AF_INET)
        self._sockets.append(server)
        server.connect(self.target)
        server.sendall(struct.pack("!I", len(startup) + 4) + startup)
        greeting = b""
        while (found := receive(server))[0] != b"Z":
            if found[0] == b"S":
                greeting += message(*found)
            assert found[0] in (b"R", b"S", b"K", b"N"), found
        return Server(server, greeting)

    def _take(self, startup: bytes) -> Server:
        with self._lock:
            idle = self._idle.setdefault(startup, deque())
            while self.mode != "session" and len(idle) < SERVERS:
                idle.append(self._connect(startup))
            return idle.popleft() if idle else self._connect(startup)

    def _give_back(self, startup: bytes, server: Server) -> None:
        if self.mode == "session":
            server.socket.close()  # as good as DISCARD ALL
            return
        with self._lock:
            self._idle[startup].append(server)

    def _serve(self, client: socket.socket) -> None:
        server = None
        startup = b""
        with suppress(OSError, AssertionError):  # the database may be dropped while a client still connects, as a test ends
            while struct.unpack("!I", (startup := read(client, struct.unpack("!I", read(client, 4))[0] - 4))[:4])[0] in (_SSL, _GSS):
                client.sendall(b"N")
            if struct.unpack("!I", startup[:4])[0] == _CANCEL:
                return
            with self._lock:
                self._clients += 1
                who = Client(self._clients)
            server = self._take(startup)
            announced = message(b"K", struct.pack("!II", 1_000_000_000 + who.number, 0))
            client.sendall(message(b"R", struct.pack("!I", 0)) + server.greeting + announced + message(b"Z", b"I"))
            while True:
                if server is not None and self.mode != "session":
                    self._give_back(startup, server)
                    server = None
                batch = [receive(client)]
                server = server or self._take(startup)
                while self._exchange(client, who, server, batch) != b"I":
                    if self.mode == "statement":
                        server.socket.close()
                        server = None
                        raise ConnectionError
                    batch = [receive(client)]
        client.close()
        if server is not None:
            self._give_back(startup, server)

    def _exchange(self, client: socket.socket, who: Client, server: Server, batch: list[tuple[bytes, bytes]]) -> bytes:
        """Forward messages up to a query or Sync, and the answers. Returns the state of the transaction."""
        while batch[-1][0] not in (b"Q", b"S", b"X"):
            batch.append(receive(client))
        if batch[-1][0] == b"X":
            raise ConnectionError
        ours: list[bool] = []  # for every Parse, whether its answer stays here
        for kind, body in batch:
            for sent in self._followed(who, server, kind, body, ours) if self.follows_statements else [message(kind, body)]:
                server.socket.sendall(sent)
        answer = b""
        while True:
            kind, body = receive(server.socket)
            if kind == b"1" and ours and ours.pop(0):
                continue
            if kind == b"Z" and body != b"I" and self.mode == "statement":
                error = b"SFATAL\0VFATAL\0C08P01\0Mtransaction blocks not allowed in statement pooling mode\0\0"
                client.sendall(message(b"E", error))
                return body
            answer += message(kind, body)
            if kind == b"Z":
                client.sendall(answer)
                return body

    def _followed(self, who: Client, server: Server, kind: bytes, body: bytes, ours: list[bool]) -> Iterator[bytes]:
        """Return the message with statement names unique to the client, after a Parse if this server does not have the statement."""
        if body.rstrip(b"\0").upper() == b"DEALLOCATE ALL":
            who.statements.clear()
            server.has.clear()
        before = b""
        if kind == b"P":
            name, rest = body.split(b"\0", 1)
            if name:
                who.prepared += 1
                who.statements[name] = (f"pooler_{who.number}_{who.prepared}".encode(), rest)
                server.has.add(who.statements[name][0])
            ours.append(False)
        elif kind == b"B":
            before, name, rest = body.split(b"\0", 2)
            before += b"\0"
        elif kind in (b"D", b"C") and body[:1] == b"S":
            before, (name, rest) = b"S", body[1:].split(b"\0", 1)
        else:
            name = rest = b""
        if name not in who.statements:
            yield message(kind, body)
            return
        theirs, parse = who.statements[name]
        if theirs not in server.has and kind != b"C":
            server.has.add(theirs)
            ours.append(True)
            yield message(b"P", theirs + b"\0" + parse)
        if kind == b"C":
            del who.statements[name]
        yield message(kind, before + theirs + b"\0" + rest)


@contextmanager
def fake_pooler(url: str, mode: Mode, follows_statements: bool = False) -> Iterator[FakePooler]:
    """Start a pooler in front of the server of a SQLAlchemy URL (TCP, or a Unix socket given as `?host=`)."""
    parsed = make_url(url)
    host = parsed.host or str(parsed.query.get("host") or "127.0.0.1")
    port = int(parsed.port or str(parsed.query.get("port") or 5432))
    item = FakePooler(f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port), mode, follows_statements)
    try:
        yield item
    finally:
        item.close()
