"""A list that staff look through: what was typed, which state, which page; and where the next page begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

from flask import request

from core import states
from portal import cursor

Row = TypeVar("Row")
PAGE = 25
LONGEST = 320


@dataclass(frozen=True)
class Asked:
    """`before`: (at, id) of the last row of the page one came from."""

    words: str
    status: str
    before: tuple[datetime, str] | None

    def link(self, base: str, **changes: str) -> str:
        kept = {"q": self.words, "state": self.status} | changes
        kept = {name: value for name, value in kept.items() if value}
        return f"{base}?{urlencode(kept)}" if kept else base

    def cut(self, base: str, rows: Sequence[Row], mark: Callable[[Row], tuple[datetime, str]]) -> tuple[Sequence[Row], str, str]:
        """`rows` holds one more than a page, where there is more. → (this page, link to the newest, link to older ones)"""
        shown = rows[:PAGE]
        older = self.link(base, before=cursor.write(*mark(shown[-1]))) if len(rows) > PAGE else ""
        return shown, self.link(base) if self.before else "", older


def asked(known: Sequence[str] = ()) -> Asked:
    """What this page's address asks for. A state that is none is no filter."""
    status = request.args.get("state", "")
    return Asked(" ".join(request.args.get("q", "").split())[:LONGEST], status if status in known else "",
                 cursor.read(request.args.get("before")))


def chips(noun: str, known: Sequence[str], now: Asked, base: str) -> list[tuple[str, Any, bool]]:
    """(address, words, is it the one that is chosen) of the filter by state, "all" left to the page."""
    return [(now.link(base, state=one), states.lookup(noun, one).word, one == now.status) for one in known]
