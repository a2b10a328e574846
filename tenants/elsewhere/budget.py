"""How much one reading of an account may cost: questions, and seconds. An account that names without end is not followed without end."""

from __future__ import annotations

import time


class Spent(Exception):
    """Nothing more is asked in this reading."""


class Budget:
    def __init__(self, asks: int, seconds: float) -> None:
        self.left, self.until = asks, time.monotonic() + seconds

    def take(self) -> None:
        """One question. Raises Spent."""
        self.left -= 1
        if self.left < 0 or time.monotonic() > self.until:
            raise Spent
