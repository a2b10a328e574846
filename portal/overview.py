"""The data of an overview page, the same in the unified portal and in a business portal.

It takes four SQL statements, whatever the number of businesses and subscriptions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from billing.history import overview
from billing.history.overview import SubscriptionSummary
from billing.subscriptions import running
from billing.subscriptions.subscription_row import SubscriptionRow
from core.request_context import db
from core.template_context import formatter
from portal.attention import needs, unfinished
from portal.license_keys import mask_key
from portal.renewals import upcoming_renewals
from portal.request_accounts import businesses
from portal.safe_rows import safe_rows
from portal.subscription_rows import lines, sort
from portal.withdrawal_rights import withdrawable

LISTED = 40
"""Maximum number of subscriptions on an overview: those that need attention first, then those with the next dates."""


@dataclass
class Month:
    day: date
    minors: list[tuple[int, str]]


def parts(sort_by: str = "date") -> dict[str, Any]:
    """Return the context of `unified/dashboard.html` and `tenants/overview.html`."""
    session = db(replica=True)
    first = running.page(session, None, LISTED)
    months = overview.months_back(formatter().today())
    invoices = overview.recent_invoices(session)
    summaries = overview.subscription_summaries(session)
    spent = overview.spend(session, months)
    names = businesses()

    def draw(rows: list[SubscriptionRow]) -> dict[str, Any]:
        return {"needs": needs(rows), "ahead": upcoming_renewals(rows), "lines": lines(sort(rows, sort_by))}

    listed, left_out = safe_rows(first.rows, draw)
    return {
        **listed,
        "needs": [*listed["needs"], *unfinished(summaries)],
        "is_new": not (first.rows or summaries or invoices or spent),  # nothing to list: one page of help instead of empty sections
        "left_out": left_out,
        "sort_by": sort_by,
        "is_cut": first.next is not None,
        "withdrawable": withdrawable(first.rows, [item for item in summaries if item.kind == "purchase"]),
        "purchases": [item for item in summaries if item.kind == "purchase" and item.status == "succeeded"][:3],
        "keys": _keys(summaries),
        "invoices": invoices,
        "spent": spent,
        "months": _table(spent, months),
        "businesses": names,
    }


def _keys(summaries: list[SubscriptionSummary]) -> list[SubscriptionSummary]:
    keys = [item for item in summaries if item.kind == "key"][:3]
    for item in keys:
        item.key = mask_key(item.key or "")
    return keys


def _table(spent: dict[str, list[int]], months: list[str]) -> list[Month]:
    return [
        Month(date(int(name[:4]), int(name[5:]), 1), [(values[n], currency) for currency, values in spent.items()])
        for n, name in enumerate(months)
    ]
