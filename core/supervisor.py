"""Keep the serving processes running: restart ended ones, replace all on SIGHUP, and shut them down on SIGTERM.

The supervisor holds the listening socket, so connections wait while a process is replaced. granian's own supervision is not
used: it ends all processes when one ends twice within seconds, replaces them without checking that the new ones started, and
gives every process its own listening socket.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import structlog

from core.serving_process import DRAIN, READY, Child, ProcessSlot

log = structlog.get_logger()

STEADY = 10.0  # seconds; a process that ends earlier counts as failed
LONGEST = 30.0  # maximum seconds between two attempts to start
START_LIMIT = 120.0  # seconds within which a process must be ready
AGAIN_AND_AGAIN = 3  # failures in a row until a different message is logged
ENDED = "serving process ended"
STOPPED = "replacement stopped: the new process ended before it was ready, the old ones continue"
AGAIN = "serving process keeps ending soon after its start"

Make = Callable[[int, Connection], BaseProcess]
"""(number of the process, its end of the pipe) → a process that is not started yet."""


def pause(failures: int) -> float:
    """Return the seconds before the next start: none after the first failure in a row, then 1, 2, 4, up to LONGEST."""
    return 0.0 if failures < 2 else min(2.0 ** (failures - 2), LONGEST)


class Supervisor:
    """Run `count` processes. `limit`: seconds for processes to end. `delay`: seconds after SIGTERM with open port and 503 on `/readyz`.

    `overlap`: on SIGHUP, start the new process before the old one ends; else end the old one first.
    """

    def __init__(
        self, count: int, make: Make, close: Callable[[], None], *, limit: float, delay: float = 0.0, overlap: bool = True
    ) -> None:
        self.places = [ProcessSlot(number) for number in range(count)]
        self.make, self.close = make, close
        self.limit, self.delay, self.overlap = limit, delay, overlap
        self.ending: list[Child] = []  # replaced processes that finish their requests
        self.renewing: list[ProcessSlot] = []  # still to be replaced
        self.stopping = self.renew_asked = False

    def run(self) -> None:
        """Run until SIGTERM or SIGINT and the end of all processes."""
        self._awake, self._wake = os.pipe()
        for item in (self._awake, self._wake):
            os.set_blocking(item, False)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._renew)
        try:
            while not self.stopping:
                self._renew_next()
                self._start_due()
                self._wait()
            self._drain()
        finally:
            for child in self._children():
                child.process.kill()

    def _stop(self, *_: object) -> None:
        self.stopping = True

    def _renew(self, *_: object) -> None:
        self.renew_asked = True

    def _children(self) -> list[Child]:
        children = [child for place in self.places for child in (place.child, place.successor) if child]
        return children + self.ending

    def _start(self, place: ProcessSlot) -> Child:
        parent_end, child_end = multiprocessing.Pipe()
        child = Child(self.make(place.number, child_end), parent_end)
        child.process.start()
        child_end.close()
        log.info("serving process started", process=place.number + 1, pid=child.process.pid)
        return child

    def _start_due(self) -> None:
        for place in self.places:
            if place.start_at is not None and time.monotonic() >= place.start_at:
                place.start_at, place.child = None, self._start(place)

    def _wait(self) -> None:
        """Wait for a signal, a process that is ready or has ended, or the next deadline."""
        children = self._children()
        times = [place.start_at for place in self.places if place.start_at is not None and not self.stopping]
        times += [
            child.end_by if child.end_by is not None else child.started + START_LIMIT
            for child in children
            if child.end_by is not None or child.ready is None
        ]
        links = {child.link: child for child in children if not child.link.closed}
        found = wait(
            [self._awake, *links, *(child.process.sentinel for child in children)],
            max(0.0, min(times) - time.monotonic()) if times else None,
        )
        with suppress(BlockingIOError):
            os.read(self._awake, 4096)
        for link in found:
            if isinstance(link, Connection):
                self._receive(links[link])
        for child in children:
            self._kill_late(child)
            if not child.process.is_alive():
                self._on_end(child)

    def _receive(self, child: Child) -> None:
        try:
            message = child.link.recv()
        except (EOFError, OSError):
            child.link.close()
            return
        if message == READY and child.ready is None:
            child.ready = time.monotonic()
            log.info("serving process ready", pid=child.process.pid, seconds=round(child.ready - child.started, 1))
            place = next((item for item in self.places if item.successor is child), None)
            if place is not None:
                if place.child is not None:
                    place.child.end(self.limit)
                    self.ending.append(place.child)
                place.child, place.successor = child, None

    def _kill_late(self, child: Child) -> None:
        late = child.ready is None and child.end_by is None and time.monotonic() > child.started + START_LIMIT
        if late or (child.end_by is not None and time.monotonic() > child.end_by):
            log.warning("serving process killed", pid=child.process.pid, reason="did not start in time" if late else "did not end in time")
            child.process.kill()
            child.process.join()

    def _on_end(self, child: Child) -> None:
        child.process.join()
        child.link.close()
        facts = {"pid": child.process.pid, "exit": _exit_name(child.process.exitcode)}
        if child in self.ending:
            self.ending.remove(child)
            log.info(ENDED, **facts)
            return
        place = next(item for item in self.places if child in (item.child, item.successor))
        if child is place.successor:
            place.successor = None
            self.renewing.clear()
            log.error(STOPPED, **facts)
            if place.child is None:
                self._schedule_restart(place, child)
            return
        place.child = None
        if child.end_by is not None:  # without overlap: it was told to end, and its successor is due
            place.start_at = 0.0
            log.info(ENDED, **facts)
        elif place.successor is not None:
            log.error("serving process ended while its successor is starting", **facts)
        elif not self.stopping:
            self._schedule_restart(place, child)

    def _schedule_restart(self, place: ProcessSlot, child: Child) -> None:
        """Schedule the restart of the process."""
        now = time.monotonic()
        steady = child.ready is not None and now - child.ready >= STEADY
        place.failures = 1 if steady else place.failures + 1
        seconds = pause(place.failures)
        place.start_at = now + seconds
        log.error(
            ENDED if place.failures < AGAIN_AND_AGAIN else AGAIN,
            process=place.number + 1,
            pid=child.process.pid,
            exit=_exit_name(child.process.exitcode),
            failures=place.failures,
            starts_again_in=seconds,
        )

    def _renew_next(self) -> None:
        """Replace one process at a time, while the others serve. New processes load the code again."""
        if self.renew_asked:
            self.renew_asked = False
            multiprocessing.set_start_method("spawn", force=True)  # a fork would keep the code that this process has loaded
            self.renewing = [place for place in self.places if place.child is not None]
            for place in self.places:
                if place.start_at is not None:  # a restart that is waiting may succeed with the new code
                    place.start_at, place.failures = 0.0, 0
            log.info("replacing the serving processes")
        if not self.renewing or any(place.successor or place.child is None or place.child.ready is None for place in self.places):
            return
        place = self.renewing.pop(0)
        if self.overlap:
            place.successor = self._start(place)
        elif place.child is not None:
            place.child.end(self.limit)

    def _drain(self) -> None:
        """Shut down: not ready now, no new connections after `delay`, then wait for running requests."""
        log.info("shutting down", accepting_for=self.delay)
        for child in self._children():
            child.tell(DRAIN)
        until = time.monotonic() + self.delay
        while (left := until - time.monotonic()) > 0 and any(child.process.is_alive() for child in self._children()):
            time.sleep(min(left, 0.1))
        for child in self._children():
            child.end(self.limit)
        self.close()
        for child in self._children():
            child.process.join(max(0.0, (child.end_by or 0.0) - time.monotonic()))
            if child.process.is_alive():
                log.warning("serving process killed", pid=child.process.pid, reason="did not end in time")
                child.process.kill()
                child.process.join()
        log.info("shut down")


def _exit_name(code: int | None) -> str:
    if code is not None and code < 0:
        with suppress(ValueError):
            return signal.Signals(-code).name
    return str(code)
