"""Search, filter and paging of the console's lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

from flask import request

from core import status_labels
from portal import cursor

Row = TypeVar("Row")
PAGE = 25
LONGEST = 320


@dataclass(frozen=True)
class ListQuery:
    """The query of a list. `before`: (at, id) of the last row of the previous page."""

    text: str
    status: str
    before: tuple[datetime, str] | None

    def link(self, base: str, **changes: str) -> str:
        kept = {"q": self.text, "state": self.status} | changes
        kept = {name: value for name, value in kept.items() if value}
        return f"{base}?{urlencode(kept)}" if kept else base

    def cut(self, base: str, rows: Sequence[Row], mark: Callable[[Row], tuple[datetime, str]]) -> tuple[Sequence[Row], str, str]:
        """Return (rows of this page, link to the newest page, link to the older page).

        `rows` has one row more than a page if there is an older page.
        """
        shown = rows[:PAGE]
        older = self.link(base, before=cursor.write(*mark(shown[-1]))) if len(rows) > PAGE else ""
        return shown, self.link(base) if self.before else "", older


def list_query(known: Sequence[str] = ()) -> ListQuery:
    """Return the query in the address of this page. An unknown state is ignored."""
    status = request.args.get("state", "")
    return ListQuery(
        " ".join(request.args.get("q", "").split())[:LONGEST], status if status in known else "", cursor.read(request.args.get("before"))
    )


def chips(noun: str, known: Sequence[str], now: ListQuery, base: str) -> list[tuple[str, Any, bool]]:
    """Return (address, label, whether it is selected) for each state. The template adds "All"."""
    return [(now.link(base, state=item), status_labels.lookup(noun, item).word, item == now.status) for item in known]
