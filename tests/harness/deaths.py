"""A child that does an act and dies by SIGKILL at a chosen point of it; or lives, and tells how many points there were."""

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
    """How many there are in one whole run of an act; `seconds` is how long it took."""

    many: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.1

    def pick(self, chance: random.Random) -> tuple[str, float]:
        """(kind, number of the point, or seconds)."""
        kind = chance.choice([one for one in KINDS if one == "moment" or self.many.get(one)])
        return (kind, chance.uniform(0, self.seconds)) if kind == "moment" else (kind, chance.randint(1, self.many[kind]))


def fork(house: Any, do: Callable[[], object], kind: str = "", number: float = 0) -> bool:
    """True: it was killed. The parent's connections are closed before, so the child shares none with it."""
    house.database.dispose()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _arm(house, kind, int(number))
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


def measure(house: Any, do: Callable[[], object]) -> Points:
    """Run an act to its end in a child, and count its points."""
    reads, writes = os.pipe()
    house.database.dispose()
    child = os.fork()
    if child == 0:
        try:
            seen = _arm(house, "count", 0)
            do()
            os.write(writes, json.dumps(seen).encode())
        finally:
            os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as told:
        points = Points(json.loads(told.read()))
    os.waitpid(child, 0)
    return points


def _arm(house: Any, kind: str, number: int) -> dict[str, int]:
    """Count the points of this process, and die at the chosen one."""
    seen = dict.fromkeys(KINDS, 0)

    def reach(point: str) -> None:
        seen[point] += 1
        if point == kind and seen[point] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(house.database.engine, "commit", lambda _connection: reach("before commit"))
    event.listen(Session, "after_commit", lambda _session: reach("after commit"))
    for name in CALLS:
        setattr(house.gateway, name, _around(getattr(house.gateway, name), reach))
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
