"""Threads for requests, with a queue in which clients take turns, so that one client cannot delay the others."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")
MAX_WAITING = 256  # requests that wait for a thread
MAX_OF_A_CLIENT = 128  # of these, per client


class Threads:
    """For one event loop: `await take(client)`, then `await run(…)`, which frees the thread."""

    def __init__(self, count: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._free = count
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    async def take(self, client: str) -> None:
        """Wait for a thread. If the queue is full, this request or the newest one of a client with more gets a TimeoutError."""
        if self._free:
            self._free -= 1
            return
        mine = self._waiting.get(client, ())
        if len(mine) >= MAX_OF_A_CLIENT:
            raise TimeoutError
        if sum(map(len, self._waiting.values())) >= MAX_WAITING:
            self._make_room(len(mine) + 1)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:  # a thread was assigned at the same moment
                self._give_back()
            else:
                self._forget(client, turn)
            raise

    async def run(self, what: Callable[[Given], Made], given: Given) -> Made:
        """Run `what(given)` in the taken thread, and free the thread."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, what, given)
        finally:
            self._give_back()

    def _give_back(self) -> None:
        """Give the thread to the next client; its other requests wait for the next round."""
        while self._waiting:
            client, mine = self._waiting.popitem(last=False)
            turn = mine.popleft()
            if mine:
                self._waiting[client] = mine
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _make_room(self, wanted: int) -> None:
        """Drop the newest request of the client with the most waiting requests, so that few clients cannot fill the queue.

        Raises TimeoutError if no client has more waiting than `wanted`.
        """
        client, most = max(self._waiting.items(), key=lambda item: len(item[1]), default=("", deque()))
        if len(most) <= wanted:
            raise TimeoutError
        turn = most[-1]
        self._forget(client, turn)
        if not turn.done():
            turn.set_exception(TimeoutError())

    def _forget(self, client: str, turn: asyncio.Future[None]) -> None:
        mine = self._waiting.get(client)
        if mine is not None and turn in mine:
            mine.remove(turn)
            if not mine:
                del self._waiting[client]
