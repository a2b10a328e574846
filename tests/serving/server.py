"""The real server in a separate process, with attacking clients and others that use it meanwhile."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import select

from auth.models import Challenge, RateLimitCount
from core.db import Database
from core.mailbox import MailboxEmail
from core.scope import everything
from core.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SOMEBODY = "127.0.0.2"  # the address of the people who use the portal while 127.0.0.1 attacks it
HEALTH, EMAIL = 1.0, 5.0  # seconds: what /healthz and /readyz, and somebody else's sign-in email, may take while an attack runs


def free_port() -> int:
    with socket.socket() as item:
        item.bind(("127.0.0.1", 0))
        port: int = item.getsockname()[1]
        return port


@dataclass
class Served:
    port: int
    host: str  # what clients write in the Host header
    database: Database
    process: subprocess.Popen[bytes]
    log: Path
    through: int = 0  # port of a proxy in front
    tls: bool = False
    sockets: list[socket.socket] = field(default_factory=list)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        *,
        client: str = "127.0.0.1",
        proxied: bool = False,
        timeout: float = 30,
    ) -> tuple[int, bytes, http.client.HTTPResponse]:
        """Send one request over a separate connection. `client`: the loopback address it comes from."""
        port = self.through if proxied else self.port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout, source_address=(client, 0))
        if proxied and self.tls:
            plain = socket.create_connection(("127.0.0.1", port), timeout, (client, 0))
            connection.sock = ssl._create_unverified_context().wrap_socket(plain, server_hostname=self.host.partition(":")[0])
        if isinstance(body, dict):
            body, headers = urlencode(body), {**FORM, **(headers or {})}
        connection.request(method, path, body, {"Host": self.host, **(headers or {})})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body, answer

    def connect(self, sent: bytes = b"", receive_buffer: int = 0) -> socket.socket:
        """Open a connection that stays open until the attack ends."""
        item = socket.socket()
        if receive_buffer:
            item.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        item.settimeout(30)
        item.connect(("127.0.0.1", self.port))
        item.sendall(sent)
        self.sockets.append(item)
        return item

    def head(self, method: str, path: str, *lines: str) -> bytes:
        return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {self.host}", *lines, "", ""]).encode()

    def seconds(self, path: str) -> float:
        """Return the seconds until the page answers. It must answer 200."""
        began = time.monotonic()
        assert self.ask("GET", path, client=SOMEBODY)[0] == 200, path
        return time.monotonic() - began

    def emails(self, to: str) -> int:
        with self.database.open(everything("read the test mailbox")) as db:
            return len(list(db.scalars(select(MailboxEmail.id).where(MailboxEmail.to == to))))

    def ask_for_email(self, address: str, **how: Any) -> http.client.HTTPResponse:
        """Load the form and submit it with its token and the address, like a browser."""
        _, page, answer = self.ask("GET", "/login", **how)
        found = re.search(rb'name="csrf_token"[^>]*value="([^"]+)"', page)
        assert found, page[:300]
        cookies = "; ".join(item.split(";")[0] for item in answer.headers.get_all("Set-Cookie") or [])
        status, text, sent = self.ask("POST", "/login", {"email": address, "csrf_token": found[1].decode()}, {"Cookie": cookies}, **how)
        assert status == 303, (status, text[-600:])
        return sent

    def seconds_to_email(self, address: str, **how: Any) -> float:
        """Return the seconds from requesting a sign-in email to its arrival."""
        before, began = self.emails(address), time.monotonic()
        self.ask_for_email(address, **how)
        while self.emails(address) == before:
            if time.monotonic() - began > 3 * EMAIL:
                return time.monotonic() - began
            time.sleep(0.05)
        return time.monotonic() - began

    def reset_email_limits(self) -> None:
        """Reset the limits of sign-in emails and the maximum of five valid links of an address."""
        with self.database.open(everything("let the budgets of emails rest"), write=True) as db:
            for item in [*db.scalars(select(RateLimitCount)), *db.scalars(select(Challenge))]:
                db.delete(item)

    def assert_serving(self, address: str) -> None:
        """Assert that health checks answer within a second and another person's sign-in email arrives within five.

        A busy machine gets more time, and two more tries; a server that is blocked by an attack fails them all.
        """
        for attempt in range(3):
            busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # how many wait for each processor
            self.reset_email_limits()
            took = {path: self.seconds(path) for path in ("/healthz", "/readyz")}
            email = self.seconds_to_email(address, client=SOMEBODY)
            if max(took.values()) < HEALTH * busy and email < EMAIL * busy:
                return
        raise AssertionError(f"slow during the attack, also the {attempt + 1}rd time: {took}, email after {email:.1f} s")


@contextmanager
def serving(folder: Path, urls: dict[str, str], *, base_url: str = "", processes: int = 1, **environment: str) -> Iterator[Served]:
    """Run `flask serve` on a free port, with its worker, like a deployment."""
    port = free_port()
    base_url = (base_url or "http://127.0.0.1:{port}").format(port=port)
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    log = folder / "serve.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "flask", "--app", "wsgi", "serve", "--port", str(port), "--processes", str(processes)],
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={
                **kept,
                "PORTAL_MODE": "test",
                "PORTAL_BASE_URL": base_url,
                "PORTAL_DATA_DIR": str(folder),
                "PORT": str(port),
                "DATABASE_URL": urls["database_url"],
                **environment,
            },
        )
    database = Database(Settings(data_dir=folder, base_url=base_url, **urls))
    served = Served(port, base_url.split("//")[1], database, process, log)
    try:
        _wait(served)
        yield served
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(45)
        finally:
            process.kill()
            database.dispose()


def _wait(served: Served) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert served.process.poll() is None, served.log.read_text()[-3000:]
        try:
            if served.ask("GET", "/readyz", timeout=2)[0] == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(served.log.read_text()[-3000:])
