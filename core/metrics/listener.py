"""Serve a worker's `/metrics` and `/healthz` on `PORTAL_METRICS_LISTEN`.

A scrape needs `PORTAL_OPERATOR_SECRET` if it is set. Otherwise the address and the Host header must be loopback, so that a web
page in a local browser cannot read the response through another name (DNS rebinding).
"""

from __future__ import annotations

import hmac
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import structlog

from core.address_policy import is_loopback
from core.domain_names import LOOPBACK
from core.metrics.exposition import CONTENT_TYPE, knows_secret, scrape
from core.services import Services

log = structlog.get_logger()

AT_ONCE = 8  # connections
TIMEOUT = 5.0  # seconds a connection may be silent


class Listener(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, services: Services, host: str, port: int) -> None:
        """Raises OSError if the address cannot be used."""
        if ":" in host:
            self.address_family = socket.AF_INET6
        self.services = services
        self._free = threading.BoundedSemaphore(AT_ONCE)
        super().__init__((host, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)  # all connections are in use; a scraper tries again
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.info("metrics: connection lost")


class _Handler(BaseHTTPRequestHandler):
    server: Listener
    timeout = TIMEOUT
    server_version, sys_version = "portal", ""

    def do_GET(self) -> None:
        if self.path == "/healthz":
            return self._answer(200, b'{"status":"ok"}\n', "application/json")
        if self.path != "/metrics" or not self._may():
            return self._answer(404, b"Not found.\n", "text/plain; charset=utf-8")
        self._answer(200, scrape(self.server.services), CONTENT_TYPE)

    def _may(self) -> bool:
        settings = self.server.services.settings
        if settings.operator_secret:
            shown = self.headers.get("X-Operator-Secret", "")
            return hmac.compare_digest(shown.encode(), settings.operator_secret.encode()) or knows_secret(
                settings, self.headers.get("Authorization", "")
            )
        host = urlsplit("//" + self.headers.get("Host", "")).hostname or ""
        return host in LOOPBACK or is_loopback(host)

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Do not log scrapes."""


def start(services: Services) -> Listener | None:
    """Start the listener in a thread, if the setting has an address. Raises OSError."""
    if services.settings.metrics_listen is None:
        return None
    listener = Listener(services, *services.settings.metrics_listen)
    threading.Thread(target=listener.serve_forever, name="metrics listener", daemon=True).start()
    return listener
