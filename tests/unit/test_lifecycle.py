"""Shutdown of a process: its worker takes no more work and finishes the current work."""

from __future__ import annotations

import threading

from core.lifecycle import Lifecycle

DEADLINE = 30.0  # seconds


class Busy:
    """A worker with one long piece of work."""

    def __init__(self) -> None:
        self.may_end, self.woken, self.begun = threading.Event(), threading.Event(), threading.Event()
        self.done = 0

    def run_forever(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self.begun.set()
            self.may_end.wait(DEADLINE)
            self.done += 1

    def wake(self) -> None:
        self.woken.set()


def test_draining_finishes_only_current_work() -> None:
    lifecycle, worker = Lifecycle(), Busy()
    lifecycle.start_worker(worker)
    assert worker.begun.wait(DEADLINE) and not lifecycle.draining
    lifecycle.drain()
    assert lifecycle.draining and worker.woken.is_set()
    lifecycle.finish(0.01)
    assert worker.done == 0, "the limit is over before the work is"
    worker.may_end.set()
    lifecycle.finish(DEADLINE)
    assert worker.done == 1


def test_a_process_without_a_worker_ends_at_once() -> None:
    lifecycle = Lifecycle()
    lifecycle.finish(DEADLINE)
    assert lifecycle.draining
