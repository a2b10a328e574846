"""Request threads: which requests occupy one, how much memory waiting requests share, and the WSGI environment."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from flask import Flask, request

from core import edge, request_limits, request_threads
from core.edge import Edge
from core.proxies import TrustedProxies
from core.wsgi_environ import environ_of


def scope(method: str = "POST", path: str = "/echo", *headers: tuple[str, str], query: str = "") -> dict[str, Any]:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers],
        "client": ("203.0.113.7", 4711),
        "server": ("127.0.0.1", 5000),
        "scheme": "http",
    }


class Client:
    """One connection: `sends(…)` sends bytes, `got` is the answer. `reads=False`: it reads only the head."""

    def __init__(self, reads: bool = True) -> None:
        self.arrived: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.got: list[dict[str, Any]] = []
        self.reads = reads

    def sends(self, body: bytes, more: bool = False) -> Client:
        self.arrived.put_nowait({"type": "http.request", "body": body, "more_body": more})
        return self

    async def receive(self) -> dict[str, Any]:
        return await self.arrived.get()

    async def send(self, message: Any) -> None:
        self.got.append(dict(message))
        if not self.reads and message["type"] == "http.response.body":
            await asyncio.Event().wait()

    @property
    def status(self) -> int | None:
        return self.got[0]["status"] if self.got else None

    @property
    def body(self) -> bytes:
        return b"".join(item.get("body", b"") for item in self.got[1:])


@pytest.fixture
def app() -> Flask:
    made = Flask("edge")
    request_limits.init(made)
    made.gate = threading.Event()  # type: ignore[attr-defined]

    @made.post("/echo")
    def echo() -> bytes:
        return request.get_data()

    @made.get("/big")
    def big() -> bytes:
        return b"x" * 1_000_000

    @made.get("/busy")
    def busy() -> str:
        made.gate.wait(20)  # type: ignore[attr-defined]
        return "done"

    @made.get("/healthz")
    def healthz() -> str:
        return "ok"

    @made.post("/upload")
    @request_limits.takes_upload(1_000_000)
    def upload() -> str:
        return str(len(request.get_data()))

    return made


def run(test: Callable[[], Any]) -> None:
    asyncio.run(test())


@asynccontextmanager
async def going(of: Edge, client: Client, asked: dict[str, Any]) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(of(asked, client.receive, client.send))
    await asyncio.sleep(0.02)
    yield task
    task.cancel()


def length(size: int) -> tuple[str, str]:
    return ("content-length", str(size))


def test_a_body_in_pieces_arrives_whole(app: Flask) -> None:
    async def test() -> None:
        client = Client().sends(b"a" * 70_000, more=True).sends(b"b" * 10)
        await Edge(app)(scope("POST", "/echo", ("transfer-encoding", "chunked")), client.receive, client.send)
        assert client.status == 200 and client.body == b"a" * 70_000 + b"b" * 10

    run(test)


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [
        ("/echo", request_limits.MAX_BODY, 200),
        ("/echo", request_limits.MAX_BODY + 1, 413),
        ("/upload", request_limits.MAX_BODY + 1, 200),
        ("/upload", 1_000_000, 200),
        ("/upload", 1_000_001, 413),
        ("/no-such-page", request_limits.MAX_BODY + 1, 413),
        ("/" + "a" * 5000, request_limits.MAX_BODY + 1, 414),
    ],
)
@pytest.mark.parametrize("declared", [True, False])
def test_each_route_has_its_body_limit(app: Flask, path: str, size: int, status: int, declared: bool) -> None:
    async def test() -> None:
        client = Client()
        for at in range(0, size, 100_000):
            client.sends(b"x" * min(100_000, size - at), more=at + 100_000 < size)
        header = length(size) if declared else ("transfer-encoding", "chunked")
        edge = Edge(app)
        await edge(scope("POST", path, header), client.receive, client.send)
        assert client.status == status and edge.memory.total == 0

    run(test)


def test_half_sent_bodies_and_slow_readers_leave_every_thread_free(app: Flask) -> None:
    async def test() -> None:
        item, tasks = Edge(app, threads=1), []
        for _ in range(20):
            half, lazy = Client().sends(b"x", more=True), Client(reads=False)
            tasks.append(asyncio.create_task(item(scope("POST", "/echo", length(9)), half.receive, half.send)))
            tasks.append(asyncio.create_task(item(scope("GET", "/big"), lazy.receive, lazy.send)))
        await asyncio.sleep(0.1)
        quick = Client().sends(b"hello")
        await asyncio.wait_for(item(scope("POST", "/echo", length(5)), quick.receive, quick.send), 5)
        assert quick.body == b"hello"
        for task in tasks:
            task.cancel()

    run(test)


def test_the_probes_answer_while_every_thread_is_busy(app: Flask) -> None:
    async def test() -> None:
        item, busy, probe = Edge(app, threads=1), Client(), Client()
        async with going(item, busy, scope("GET", "/busy")):
            await asyncio.wait_for(item(scope("GET", "/healthz"), probe.receive, probe.send), 5)
            assert probe.body == b"ok" and not busy.got
            app.gate.set()  # type: ignore[attr-defined]
            await asyncio.sleep(0.1)
        assert busy.body == b"done"

    run(test)


def test_waiting_requests_share_memory_and_the_oldest_is_dropped(app: Flask) -> None:
    async def test() -> None:
        item, clients = Edge(app, memory=500_000), [Client().sends(b"x" * 100_000, more=True) for _ in range(8)]
        tasks = []
        for client in clients:
            tasks.append(asyncio.create_task(item(scope("POST", "/echo", length(200_000)), client.receive, client.send)))
            await asyncio.sleep(0.02)
        assert item.memory.total <= 500_000
        assert [client.status for client in clients] == [408] * 3 + [None] * 5  # those that began first
        for client in clients[3:]:
            client.sends(b"y" * 100_000)
            await asyncio.sleep(0.02)
        assert clients[-1].status == 200 and item.memory.total <= 500_000
        for task in tasks:
            task.cancel()

    run(test)


def test_a_request_in_progress_is_never_dropped(app: Flask) -> None:
    async def test() -> None:
        item, busy = Edge(app, memory=1000), Client()
        async with going(item, busy, scope("GET", "/busy")):
            other = Client().sends(b"x" * 5000, more=True)
            async with going(item, other, scope("POST", "/echo", length(6000))):
                assert other.status == 408
            app.gate.set()  # type: ignore[attr-defined]
            await asyncio.sleep(0.1)
        assert busy.status == 200

    run(test)


def test_slow_bodies_and_slow_readers_are_dropped(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "PATIENCE", 0.1)
    monkeypatch.setattr(edge, "SLOWEST", 1e9)

    async def test() -> None:
        item, slow, lazy = Edge(app), Client().sends(b"x", more=True), Client(reads=False)
        await asyncio.wait_for(item(scope("POST", "/echo", length(9)), slow.receive, slow.send), 5)
        assert slow.status == 408
        await asyncio.wait_for(item(scope("GET", "/big"), lazy.receive, lazy.send), 5)
        assert len(lazy.body) < 1_000_000 and item.memory.total == 0

    run(test)


def test_excess_requests_get_503_with_retry_after(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_threads, "MAX_WAITING", 2)

    async def test() -> None:
        item, clients = Edge(app, threads=1), [Client() for _ in range(5)]
        tasks = [asyncio.create_task(item(scope("GET", "/busy"), client.receive, client.send)) for client in clients]
        await asyncio.sleep(0.1)
        assert sorted(client.status or 0 for client in clients) == [0, 0, 0, 503, 503]
        app.gate.set()  # type: ignore[attr-defined]
        await asyncio.gather(*tasks)
        assert sorted(client.status or 0 for client in clients) == [200, 200, 200, 503, 503]

    run(test)


def test_clients_take_turns(app: Flask) -> None:
    """A client with fifty requests waits for its own; the next client waits for one."""

    async def test() -> None:
        item, order = Edge(app, threads=1, trusted=TrustedProxies.parse("1")), []

        async def ask(client: str, path: str = "/healthz-page") -> None:
            got = Client()
            await item(scope("GET", path, ("x-forwarded-for", f"192.0.2.1, {client}")), got.receive, got.send)
            order.append(client)

        tasks = [asyncio.create_task(ask("203.0.113.7", "/busy"))]
        await asyncio.sleep(0.05)
        tasks += [asyncio.create_task(ask("203.0.113.7")) for _ in range(50)]
        await asyncio.sleep(0.05)
        tasks += [asyncio.create_task(ask("203.0.113.8")) for _ in range(2)]
        await asyncio.sleep(0.05)
        app.gate.set()  # type: ignore[attr-defined]
        await asyncio.gather(*tasks)
        assert [at for at, client in enumerate(order) if client == "203.0.113.8"][-1] <= 4 and len(order) == 53

    run(test)


def test_one_client_cannot_fill_the_queue(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_threads, "MAX_OF_A_CLIENT", 3)

    async def test() -> None:
        item, many, other = Edge(app, threads=1), [Client() for _ in range(9)], Client()
        tasks = [asyncio.create_task(item(scope("GET", "/busy"), client.receive, client.send)) for client in many]
        await asyncio.sleep(0.05)
        tasks.append(asyncio.create_task(item({**scope("GET", "/busy"), "client": ("203.0.113.8", 1)}, other.receive, other.send)))
        await asyncio.sleep(0.05)
        assert [client.status for client in many].count(503) == 5 and other.status is None
        app.gate.set()  # type: ignore[attr-defined]
        await asyncio.gather(*tasks)
        assert other.status == 200

    run(test)


def test_few_clients_cannot_fill_the_queue(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a full queue the newest request of the client with the most is dropped for a client with fewer."""
    monkeypatch.setattr(request_threads, "MAX_OF_A_CLIENT", 3)
    monkeypatch.setattr(request_threads, "MAX_WAITING", 6)

    async def test() -> None:
        item, many, other = Edge(app, threads=1), [Client() for _ in range(7)], Client()
        sent = [{**scope("GET", "/busy"), "client": (f"203.0.113.{7 + n % 2}", 1)} for n in range(7)]
        tasks = [asyncio.create_task(item(each, client.receive, client.send)) for each, client in zip(sent, many, strict=True)]
        await asyncio.sleep(0.05)
        assert all(client.status is None for client in many), "one is being answered, three of each wait"
        tasks.append(asyncio.create_task(item({**scope("GET", "/busy"), "client": ("203.0.113.9", 1)}, other.receive, other.send)))
        await asyncio.sleep(0.05)
        assert [client.status for client in many].count(503) == 1 and other.status is None
        app.gate.set()  # type: ignore[attr-defined]
        await asyncio.gather(*tasks)
        assert other.status == 200 and [client.status for client in many].count(200) == 6
        assert item.pages._free == 1 and item.memory.total == 0

    run(test)


def test_a_dropped_request_occupies_no_thread(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "WAIT", 0.05)

    async def test() -> None:
        item, clients = Edge(app, threads=1), [Client() for _ in range(4)]
        tasks = [asyncio.create_task(item(scope("GET", "/busy"), client.receive, client.send)) for client in clients]
        await asyncio.sleep(0.3)
        assert sorted(client.status or 0 for client in clients) == [0, 503, 503, 503]
        app.gate.set()  # type: ignore[attr-defined]
        await asyncio.gather(*tasks)
        last = Client()
        await asyncio.wait_for(item(scope("GET", "/busy"), last.receive, last.send), 5)
        assert last.status == 200

    run(test)


def test_a_client_that_hangs_up_in_the_middle_of_a_body_is_forgotten(app: Flask) -> None:
    async def test() -> None:
        item, client = Edge(app), Client().sends(b"x" * 100, more=True)
        client.arrived.put_nowait({"type": "http.disconnect"})
        await asyncio.wait_for(item(scope("POST", "/echo", length(900)), client.receive, client.send), 5)
        assert not client.got and item.memory.total == 0

    run(test)


def test_header_names_with_underscores_are_left_out() -> None:
    """`X_Forwarded_For` would get the same variable name as the proxy's header."""
    asked = scope("GET", "/", ("x-forwarded-for", "203.0.113.7"), ("x_forwarded_for", "198.51.100.9"), ("content_length", "5"))
    environ = environ_of(asked, io.BytesIO(), 0)
    assert environ["HTTP_X_FORWARDED_FOR"] == "203.0.113.7" and environ["CONTENT_LENGTH"] == "0" and "HTTP_CONTENT_LENGTH" not in environ


def test_the_environment_conforms_to_pep_3333() -> None:
    asked = scope(
        "GET",
        "/caf%C3%A9/a%2Fb",
        ("host", "portal.example"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("accept", "x"),
        ("accept", "y"),
        ("content-type", "text/plain"),
        ("transfer-encoding", "chunked"),
        query="q=%C3%A9",
    )
    environ = environ_of(asked, io.BytesIO(b"abc"), 3)
    assert environ["PATH_INFO"] == "/café/a/b".encode().decode("latin-1") and environ["QUERY_STRING"] == "q=%C3%A9"
    assert environ["HTTP_COOKIE"] == "a=1; b=2" and environ["HTTP_ACCEPT"] == "x,y" and environ["CONTENT_TYPE"] == "text/plain"
    assert environ["CONTENT_LENGTH"] == "3" and environ["REMOTE_ADDR"] == "203.0.113.7" and "HTTP_TRANSFER_ENCODING" not in environ
