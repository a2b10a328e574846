"""A serving process and its place in the supervisor, and the messages between the two."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

READY = "ready"  # from the process: it serves
DRAIN = "drain"  # to the process: it is about to end


@dataclass
class Child:
    process: BaseProcess
    link: Connection
    started: float = field(default_factory=time.monotonic)
    ready: float | None = None  # when it became ready
    end_by: float | None = None  # when it is killed; None if it was not told to end

    def tell(self, message: str) -> None:
        with suppress(OSError):
            self.link.send(message)

    def end(self, limit: float) -> None:
        """Tell the process to finish its requests and end within `limit` seconds."""
        self.tell(DRAIN)
        self.process.terminate()
        self.end_by = time.monotonic() + limit


@dataclass
class ProcessSlot:
    """One of the processes to keep running."""

    number: int
    child: Child | None = None
    successor: Child | None = None  # replaces `child` when it is ready
    start_at: float | None = 0.0  # None if nothing is to be started
    failures: int = 0
