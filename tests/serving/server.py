"""The real server in a process of its own, and the clients who attack it while others use it."""

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

from auth.models import Budget, Challenge
from core.db import Database
from core.mailbox import MailboxLetter
from core.scope import everything
from core.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SOMEBODY = "127.0.0.2"  # the address of the people who use the portal while 127.0.0.1 attacks it
HEALTH, EMAIL = 1.0, 5.0  # seconds: what /healthz and /readyz, and somebody else's sign-in email, may take while an attack runs


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
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

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, *, client: str = "127.0.0.1",
            proxied: bool = False, timeout: float = 30) -> tuple[int, bytes, http.client.HTTPResponse]:
        """One request over a connection of its own. `client`: the loopback address it comes from."""
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
        """A connection that stays open until the attack ends."""
        one = socket.socket()
        if receive_buffer:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        one.settimeout(30)
        one.connect(("127.0.0.1", self.port))
        one.sendall(sent)
        self.sockets.append(one)
        return one

    def head(self, method: str, path: str, *lines: str) -> bytes:
        return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {self.host}", *lines, "", ""]).encode()

    def seconds(self, path: str) -> float:
        """How long the page takes; it must answer 200."""
        began = time.monotonic()
        assert self.ask("GET", path, client=SOMEBODY)[0] == 200, path
        return time.monotonic() - began

    def emails(self, to: str) -> int:
        with self.database.open(everything("read the test mailbox")) as db:
            return len(list(db.scalars(select(MailboxLetter.id).where(MailboxLetter.to == to))))

    def ask_for_email(self, address: str, **how: Any) -> http.client.HTTPResponse:
        """As a browser does: the form, then the form's token back with the address."""
        _, page, answer = self.ask("GET", "/login", **how)
        found = re.search(rb'name="csrf_token"[^>]*value="([^"]+)"', page)
        assert found, page[:300]
        cookies = "; ".join(one.split(";")[0] for one in answer.headers.get_all("Set-Cookie") or [])
        status, text, sent = self.ask("POST", "/login", {"email": address, "csrf_token": found[1].decode()}, {"Cookie": cookies}, **how)
        assert status == 303, (status, text[-600:])
        return sent

    def seconds_to_email(self, address: str, **how: Any) -> float:
        """From asking for a sign-in email to the email."""
        before, began = self.emails(address), time.monotonic()
        self.ask_for_email(address, **how)
        while self.emails(address) == before:
            if time.monotonic() - began > 3 * EMAIL:
                return time.monotonic() - began
            time.sleep(0.05)
        return time.monotonic() - began

    def forget_emails(self) -> None:
        """As if nobody had asked for one lately: neither the budgets nor the five live links of an address stand in the way."""
        with self.database.open(everything("let the budgets of emails rest"), write=True) as db:
            for one in [*db.scalars(select(Budget)), *db.scalars(select(Challenge))]:
                db.delete(one)

    def stands(self, address: str) -> None:
        """The probes answer within a second, and another person's sign-in email is there within five. A machine that is busy with
        other things gets two more tries; a server that is held by an attack fails them all."""
        for attempt in range(3):
            self.forget_emails()
            took = {path: self.seconds(path) for path in ("/healthz", "/readyz")}
            email = self.seconds_to_email(address, client=SOMEBODY)
            if max(took.values()) < HEALTH and email < EMAIL:
                return
        raise AssertionError(f"slow during the attack, also the {attempt + 1}rd time: {took}, email after {email:.1f} s")


@contextmanager
def serving(folder: Path, urls: dict[str, str], *, base_url: str = "", processes: int = 1, **environment: str) -> Iterator[Served]:
    """`flask serve` on a free port, with its worker, as a deployment runs it."""
    port = free_port()
    base_url = (base_url or "http://127.0.0.1:{port}").format(port=port)
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    log = folder / "serve.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "flask", "--app", "wsgi", "serve", "--port", str(port), "--processes", str(processes)],
            cwd=ROOT, stdout=out, stderr=subprocess.STDOUT,
            env={**kept, "PORTAL_MODE": "test", "PORTAL_BASE_URL": base_url, "PORTAL_DATA_DIR": str(folder), "PORT": str(port),
                 "DATABASE_URL": urls["database_url"], **environment})
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
