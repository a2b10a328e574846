"""A few things at once, in threads that die with the process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

One = TypeVar("One")
Result = TypeVar("Result")


def side_by_side(work: Callable[[One], Result], things: Sequence[One], lanes: int) -> list[Result]:
    """`work` of each, at most `lanes` at a time; results in the order of `things`. Raises the first error, when all are done."""
    if lanes <= 1 or len(things) <= 1:
        return [work(one) for one in things]
    results: dict[int, Result] = {}
    errors: list[BaseException] = []
    waiting, lock = iter(range(len(things))), threading.Lock()

    def lane() -> None:
        while True:
            with lock:
                place = next(waiting, None)
            if place is None:
                return
            try:
                results[place] = work(things[place])
            except BaseException as problem:
                errors.append(problem)

    threads = [threading.Thread(target=lane, daemon=True) for _ in range(min(lanes, len(things)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [results[place] for place in range(len(things))]
