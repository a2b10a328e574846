"""The parts of an overview, the same at both doors: four statements, whatever the number of businesses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from billing.queries import overview, subscriptions
from billing.queries.overview import Holding
from core.pages import words
from core.web import db
from portal.attention import needs, unfinished
from portal.drawing import drawn
from portal.keys import masked
from portal.lines import lines, sort
from portal.renewals import ahead
from portal.standing import businesses


@dataclass
class Month:
    day: date
    minors: list[tuple[int, str]]


def parts(sort_by: str = "date") -> dict[str, Any]:
    """What `unified/dashboard.html` and `tenants/overview.html` draw."""
    session = db(replica=True)
    rows = subscriptions.live(session)
    months = overview.months_back(words().today())
    invoices = overview.recent_invoices(session)
    held = overview.holdings(session)
    spent = overview.spend(session, months)
    names = businesses()
    listed, left_out = drawn(rows, lambda some: {"needs": needs(some), "ahead": ahead(some), "lines": lines(sort(some, sort_by))})
    return {
        **listed, "needs": listed["needs"] + unfinished(held), "left_out": left_out, "sort_by": sort_by,
        "purchases": [one for one in held if one.kind == "purchase" and one.status == "succeeded"][:3],
        "keys": _keys(held), "invoices": invoices,
        "spent": spent, "months": _table(spent, months), "businesses": names,
    }


def _keys(held: list[Holding]) -> list[Holding]:
    keys = [one for one in held if one.kind == "key"][:3]
    for one in keys:
        one.key = masked(one.key or "")
    return keys


def _table(spent: dict[str, list[int]], months: list[str]) -> list[Month]:
    return [
        Month(date(int(name[:4]), int(name[5:]), 1), [(values[n], currency) for currency, values in spent.items()])
        for n, name in enumerate(months)
    ]
