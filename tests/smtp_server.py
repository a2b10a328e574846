"""A real SMTP server that can be off, slow, or refuse."""

from __future__ import annotations

import asyncio
import email
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from email import policy
from typing import Any

from aiosmtpd.controller import Controller

from core.mail import Mailer


@dataclass(frozen=True)
class Received:
    to: str
    message_id: str
    subject: str
    text: str

    def link(self, marker: str) -> str:
        """Return the path of the first link that contains `marker`."""
        found = re.search(rf"https?://[^/\s]*(/[^\s>]*{re.escape(marker)}[^\s>]+|{re.escape(marker)}[^\s>]+)", self.text)
        assert found, self.text
        return found.group(1)


class SmtpServer:
    """Off until `start()`. `answers`: recipient → the reply to RCPT; `at_data` → the reply after DATA, given while `gate` is open."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.received: list[Received] = []
        self.answers: dict[str, str] = {}
        self.at_data: dict[str, str] = {}
        self.gate = threading.Event()
        self.gate.set()
        self.tries: list[str] = []
        self.began: list[str] = []  # recipients of emails that it began to take
        self._controller: Controller | None = None

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:
        self.tries.append(address)
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        to = envelope.rcpt_tos[0]
        self.began.append(to)
        while not self.gate.is_set():
            await asyncio.sleep(0.02)
        if to in self.at_data:
            return self.at_data[to]
        message: Any = email.message_from_bytes(envelope.content, policy=policy.default)
        text = message.get_body(("plain",)).get_content()
        self.received.append(Received(to, message["Message-ID"], message["Subject"], text))
        return "250 taken"

    def start(self) -> None:
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self._controller.start()

    def stop(self) -> None:
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def of(self, to: str) -> list[Received]:
        return [item for item in self.received if item.to.lower() == to.lower()]

    def serve(self, services: Any, put: Callable[[Any, str, Any], None]) -> None:
        """Let this application send through the server. `put`: monkeypatch.setattr."""
        settings = replace(services.settings, mail_server="127.0.0.1", mail_port=self.port)
        put(services, "mailer", Mailer(settings, services.database))
