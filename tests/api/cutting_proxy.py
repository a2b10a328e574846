"""A proxy that passes calls on to a server and drops the answer after the server has done the work."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


class Wire:
    """`url` leads to the server. `cut(n)`: drop the next n answers; `cuts` counts the dropped ones."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 80)
        self._listens = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listens.getsockname()[1]}"
        self.cuts, self._armed, self._lock = 0, 0, threading.Lock()
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self, answers: int = 1) -> None:
        with self._lock:
            self._armed = answers

    def close(self) -> None:
        self._listens.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listens.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._target) as server:
            threading.Thread(target=self._forward, args=(client, server), daemon=True).start()
            while data := server.recv(65536):
                if self._is_cut():  # the server has answered, so the work is committed
                    client.shutdown(socket.SHUT_RDWR)  # the other thread waits for data, so closing alone would not end the connection
                    return
                client.sendall(data)

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)

    def _is_cut(self) -> bool:
        with self._lock:
            if not self._armed:
                return False
            self._armed -= 1
            self.cuts += 1
            return True


@contextmanager
def wire(target: str) -> Iterator[Wire]:
    item = Wire(target)
    try:
        yield item
    finally:
        item.close()
