"""Shut a process down: `/readyz` reports it, and the embedded worker stops after its current work."""

from __future__ import annotations

import threading
from typing import Protocol


class Runs(Protocol):
    """A worker that can be run and stopped."""

    def run_forever(self, stop: threading.Event) -> None: ...
    def wake(self) -> None: ...


class Lifecycle:
    """Whether this process is shutting down, and its embedded worker."""

    def __init__(self) -> None:
        self.draining = False
        self._stop = threading.Event()
        self._worker: Runs | None = None
        self._thread: threading.Thread | None = None

    def start_worker(self, worker: Runs) -> None:
        """Run the worker in a thread of this process."""
        self._worker = worker
        self._thread = threading.Thread(target=worker.run_forever, args=(self._stop,), name="worker", daemon=True)
        self._thread.start()

    def drain(self) -> None:
        """Begin to shut down: `/readyz` returns 503, and the worker takes no more work. Idempotent."""
        self.draining = True
        self._stop.set()
        if self._worker is not None:
            self._worker.wake()

    def finish(self, seconds: float) -> None:
        """Wait for the worker's current work, for at most `seconds`."""
        self.drain()
        if self._thread is not None:
            self._thread.join(seconds)
