"""A child process that runs an operation and is killed at a chosen point, or runs to its end and counts the points."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session

ROOT = str(Path(__file__).resolve().parents[2])
ROOMS = tuple(f"{ROOT}/{room}/" for room in ("billing", "gateways", "core"))
CALLS = ("collect", "charge", "refund", "look_up", "cancel")
KINDS = ("before commit", "after commit", "before call", "after call", "line", "moment")


@dataclass
class Points:
    """The number of points in one complete run of an operation; `seconds` is its duration."""

    many: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.1

    def pick(self, chance: random.Random) -> tuple[str, float]:
        """Return (kind, number of the point, or seconds)."""
        kind = chance.choice([item for item in KINDS if item == "moment" or self.many.get(item)])
        return (kind, chance.uniform(0, self.seconds)) if kind == "moment" else (kind, chance.randint(1, self.many[kind]))


def fork(services: Any, do: Callable[[], object], kind: str = "", number: float = 0) -> bool:
    """Return True if the child was killed. The parent's connections are closed first, so that the child shares none."""
    services.database.dispose()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _arm(services, kind, int(number))
            do()
            status = 0
        finally:
            os._exit(status)
    if kind == "moment":
        time.sleep(number)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the child failed by itself"
    return False


def measure(services: Any, do: Callable[[], object]) -> Points:
    """Run an operation to its end in a child, and count its points."""
    reads, writes = os.pipe()
    services.database.dispose()
    child = os.fork()
    if child == 0:
        try:
            seen = _arm(services, "count", 0)
            do()
            os.write(writes, json.dumps(seen).encode())
        finally:
            os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as told:
        points = Points(json.loads(told.read()))
    os.waitpid(child, 0)
    return points


def _arm(services: Any, kind: str, number: int) -> dict[str, int]:
    """Count the points of this process, and kill it at the chosen one."""
    seen = dict.fromkeys(KINDS, 0)

    def reach(point: str) -> None:
        seen[point] += 1
        if point == kind and seen[point] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(services.database.engine, "commit", lambda _connection: reach("before commit"))
    event.listen(Session, "after_commit", lambda _session: reach("after commit"))
    for name in CALLS:
        setattr(services.gateway, name, _around(getattr(services.gateway, name), reach))
    if kind in ("line", "count"):

        def trace(frame: FrameType, what: str, _value: Any) -> Any:
            if not frame.f_code.co_filename.startswith(ROOMS):
                return None
            if what == "line":
                reach("line")
            return trace

        sys.settrace(trace)
    return seen


def _around(call: Callable[..., Any], reach: Callable[[str], None]) -> Callable[..., Any]:
    def asked(*values: Any) -> Any:
        reach("before call")
        answer = call(*values)
        reach("after call")
        return answer

    return asked
