"""A local HTTP server that answers like the REST service of VIES (`check-vat-number`), with outages on request."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Vies:
    """`registered`: numbers with prefix → name. `down`: the answer of an outage (an error code, or raw bytes), None if all is well."""

    url: str = ""
    registered: dict[str, str] = field(default_factory=dict)
    down: str | bytes | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, sent: dict[str, Any]) -> tuple[int, bytes]:
        self.asked.append(sent)
        if isinstance(self.down, bytes):
            return 200, self.down
        if self.down:
            return 500, json.dumps({"actionSucceed": False, "errorWrappers": [{"error": self.down}]}).encode()
        requester = sent.get("requesterMemberStateCode", "") + sent.get("requesterNumber", "")
        if requester and requester not in self.registered:
            return 400, json.dumps({"actionSucceed": False, "errorWrappers": [{"error": "INVALID_REQUESTER_INFO"}]}).encode()
        name = self.registered.get(sent["countryCode"] + sent["vatNumber"])
        found = {
            "countryCode": sent["countryCode"],
            "vatNumber": sent["vatNumber"],
            "requestDate": "2027-01-01T00:00:00Z",
            "valid": name is not None,
            "requestIdentifier": f"WAPI{len(self.asked):06d}" if name and requester else "",
            "name": name or "---",
        }
        return 200, json.dumps(found).encode()


@contextmanager
def vies() -> Iterator[Vies]:
    service = Vies()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, body = service.answer(sent) if self.path == "/rest-api/check-vat-number" else (404, b"{}")
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.url = f"http://127.0.0.1:{server.server_port}/rest-api"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
