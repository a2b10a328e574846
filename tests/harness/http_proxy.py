"""An HTTP proxy between two deployments that counts requests and can lose, refuse or delay them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

HOP = {"connection", "transfer-encoding", "content-length", "host", "accept-encoding"}


class HttpProxy:
    """`cut`: the request arrives, its answer is lost. `away`: 503 with Retry-After. `slow`: seconds before the answer.

    Each names a method (PATCH, POST, …) and applies until it is reset.
    """

    def __init__(self, to: str) -> None:
        self.to = to
        self.cut: set[str] = set()
        self.away: set[str] = set()
        self.slow: dict[str, float] = {}
        self.busy = 0  # how many requests to answer with 429 and a Retry-After
        self.seen: Counter[str] = Counter()
        self.url = ""


@contextmanager
def pipe(to: str) -> Iterator[HttpProxy]:
    item = HttpProxy(to)
    client = httpx.Client(timeout=60)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            item.seen[self.command] += 1
            if item.busy or self.command in item.away:
                status, item.busy = (429 if item.busy else 503), max(item.busy - 1, 0)
                self._say(status, {"Retry-After": "1", "Content-Type": "application/json"}, b'{"message": "Busy."}')
                return
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
            said = client.request(self.command, item.to + self.path, content=body, headers=headers)
            time.sleep(item.slow.get(self.command, 0))
            if self.command in item.cut:
                self.close_connection = True
                self.connection.close()
                return
            self._say(said.status_code, {name: value for name, value in said.headers.items() if name.lower() not in HOP}, said.content)

        def _say(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = answer  # noqa: N815

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    item.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield item
    finally:
        server.shutdown()
        server.server_close()
        client.close()
