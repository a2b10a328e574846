"""Checks of `flask check`, before going live. Each finding is one line with what to do.

Each check is a function that gets its input (settings, database figures, a resolver) and returns findings.
`tenants/deployment_check.py` runs them all and prints the findings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "wrong", "not checked"]


@dataclass(frozen=True)
class Finding:
    """`name`: what was checked. `text`: the result. `todo`: what to do about it, empty if nothing."""

    name: str
    state: State
    text: str
    todo: str = ""

    @property
    def line(self) -> str:
        mark = {"ok": "ok     ", "wrong": "WRONG  ", "not checked": "?      "}[self.state]
        return f"{mark} {self.name}: {self.text}{f' -> {self.todo}' if self.todo else ''}"


def ok(name: str, text: str) -> Finding:
    return Finding(name, "ok", text)


def wrong(name: str, text: str, todo: str) -> Finding:
    return Finding(name, "wrong", text, todo)


def unknown(name: str, why: str, todo: str = "") -> Finding:
    return Finding(name, "not checked", f"not checked: {why}", todo)
