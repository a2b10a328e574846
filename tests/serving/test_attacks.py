"""One client cannot block the others: each attack against the real server, while other people use it."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from core import request_limits
from tests.serving.server import FORM, Served

ADA = "ada@marlow.example"
MANY = 300  # connections; the server had four threads and took 64 connections


@contextmanager
def meanwhile(attack: Callable[[], object], times: int = 8) -> Iterator[None]:
    """Clients that repeat the attack for the duration of the block."""
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            attack()

    with ThreadPoolExecutor(times) as clients:
        going = [clients.submit(go_on) for _ in range(times)]
        try:
            yield
        finally:
            stop.set()
    for item in going:
        item.result()


def refused(
    served: Served, *statuses: int, method: str = "GET", path: str = "/", body: object = None, **headers: str
) -> Callable[[], None]:
    def attack() -> None:
        try:
            status, *_ = served.ask(method, path, body, headers or None)
        except OSError:  # the server may hang up on what it does not read
            return
        assert status in statuses, status

    return attack


@pytest.mark.parametrize("name", ["path", "path the server takes", "query", "method", "Host", "User-Agent", "Cookie", "email"])
def test_long_values_do_not_delay_other_requests(served: Served, name: str) -> None:
    long = "a" * 60_000
    attack = {
        "path": refused(served, 414, 431, path=f"/{long}"),
        "path the server takes": refused(served, 414, path=f"/{long[:25_000]}"),
        "query": refused(served, 414, 431, path=f"/login?next={long[:20_000]}"),
        "method": refused(served, 400, 405, 431, method=long[:25_000], path="/login"),
        "Host": refused(served, 421, 400, path="/login", Host=long[:25_000]),
        "User-Agent": refused(served, 200, 431, path="/login", **{"User-Agent": "a@" * 12_000}),
        "Cookie": refused(served, 200, 431, path="/login", Cookie="a=;" * 8_000),
        "email": refused(served, 400, method="POST", path="/login", body={"email": "a." * 60_000 + "@"}),
    }[name]
    with meanwhile(attack):
        served.assert_serving(ADA)


def test_half_sent_bodies_hold_no_thread(served: Served) -> None:
    for _ in range(MANY):
        served.connect(served.head("POST", "/login", "Content-Type: application/x-www-form-urlencoded", "Content-Length: 1000") + b"email=")
    served.assert_serving(ADA)


def test_half_sent_chunked_bodies_hold_no_thread(served: Served) -> None:
    for _ in range(MANY):
        served.connect(served.head("POST", "/api/payments", "Content-Type: application/json", "Transfer-Encoding: chunked") + b"2\r\n{")
    served.assert_serving(ADA)


def all_of(item: socket.socket) -> bytes:
    """Return the bytes received until the server closes the connection."""
    return b"".join(iter(lambda: item.recv(4096), b""))


def test_connections_that_send_nothing_more_are_closed(served: Served) -> None:
    """A body has 20 seconds plus one for every 16 kB. Headers and pauses between requests have 10."""
    idle, pausing = served.connect(), served.connect(served.head("GET", "/healthz"))
    body = served.connect(served.head("POST", "/login", "Content-Length: 1000") + b"email=")
    assert all_of(body).startswith(b"HTTP/1.1 408")
    assert all_of(idle) == b"" and all_of(pausing).startswith(b"HTTP/1.1 200")


def test_half_sent_headers_hold_no_thread(served: Served) -> None:
    for _ in range(MANY):
        served.connect(b"GET / HTTP/1.1\r\nX-Slow: ")
    served.assert_serving(ADA)


def test_idle_connections_hold_no_thread(served: Served) -> None:
    for number in range(MANY):
        item = served.connect(served.head("GET", "/healthz") if number % 2 else b"")
        if number % 2:
            assert b"200" in item.recv(500)
    served.assert_serving(ADA)


def test_clients_that_do_not_read_their_answer_hold_no_thread(served: Served) -> None:
    for _ in range(MANY):
        served.connect(20 * served.head("GET", "/static/portal.css"), receive_buffer=2048)
    served.assert_serving(ADA)


def form_of(size: int) -> str:
    return ("a=&" * (size // 3 + 1))[:size]


def multipart(parts: int) -> bytes:
    return b"".join(b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' for _ in range(parts)) + b"--x--\r\n"


@pytest.mark.parametrize(
    ("size", "path"),
    [
        (12 << 20, "/login"),
        (request_limits.MAX_BODY, "/login"),
        (12 << 20, "/console/bus_x/brand/logo"),
        (12 << 20, "/api/payments"),
        (12 << 20, "/no-such-page"),
    ],
)
def test_large_forms_are_refused_before_they_are_read(served: Served, size: int, path: str) -> None:
    attack = refused(served, 413, method="POST", path=path, body=form_of(size), **FORM)
    with meanwhile(attack, times=4):
        served.assert_serving(ADA)


def test_a_large_form_in_chunks_is_refused_too(served: Served) -> None:
    def attack() -> None:
        item = served.connect(
            served.head("POST", "/login", "Content-Type: application/x-www-form-urlencoded", "Transfer-Encoding: chunked")
        )
        try:
            for _ in range(128):
                item.sendall(b"18000\r\n" + b"a=&" * 0x8000 + b"\r\n")
            item.sendall(b"0\r\n\r\n")
            assert item.recv(12) == b"HTTP/1.1 413"
        except OSError:
            return

    with meanwhile(attack, times=4):
        served.assert_serving(ADA)


@pytest.mark.parametrize("parts", [1_001, 4_000])
def test_too_many_parts_are_refused(served: Served, parts: int) -> None:
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    attack = refused(served, 413, method="POST", path="/login", body=multipart(parts), **kind)
    with meanwhile(attack, times=4):
        served.assert_serving(ADA)


def test_too_many_parameters_are_refused(served: Served) -> None:
    with meanwhile(refused(served, 400, path="/login?" + "a&" * 4_000)):
        served.assert_serving(ADA)


def test_invented_methods_and_paths_do_not_grow_the_metrics(served: Served) -> None:
    for number in range(300):
        refused(served, 405, method=f"METHOD{number}", path="/login")()
        refused(served, 404, path=f"/no-such-page-{number}")()
    text = served.ask("GET", "/metrics")[1].decode()
    assert 'method="other"' in text and "METHOD" not in text and "no-such-page" not in text
    for label, most in (("method", len(request_limits.METHODS) + 1), ("status", 60), ("why", 3)):
        assert len(set(re.findall(rf'{label}="([^"]*)"', text))) <= most
    served.assert_serving(ADA)


def test_a_flood_of_requests_does_not_fail_health_checks(served: Served) -> None:
    with meanwhile(refused(served, 200, 503, path="/login"), times=40):
        served.assert_serving(ADA)
