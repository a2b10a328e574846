"""Limits the requests and the time of one read of an account, against accounts whose references never end."""

from __future__ import annotations

import time


class Spent(Exception):
    """The limit of this read is reached."""


class ReadLimit:
    def __init__(self, requests: int, seconds: float) -> None:
        self.left, self.until = requests, time.monotonic() + seconds

    def take(self) -> None:
        """Count one request. Raises Spent."""
        self.left -= 1
        if self.left < 0 or time.monotonic() > self.until:
            raise Spent
