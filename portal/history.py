"""Billing history: every payment, invoice and refund, filtered and paged."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from flask import render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.history import billing_history as query
from core.links import here
from core.request_context import db
from core.template_context import formatter
from portal import bp, cursor
from portal.request_accounts import businesses, is_several
from portal.search import LONGEST, SearchResults

PAGE = 25


@bp.get("/billing-history")
def billing_history() -> ResponseReturnValue:
    typed = {name: request.args.get(name, "").strip() for name in ("business", "state", "from", "to", "q")}
    errors: dict[str, str] = {}
    criteria = _filter(typed, errors)
    before, after = cursor.read(request.args.get("before")), cursor.read(request.args.get("after"))
    found = [] if errors else query.entries(db(replica=True), criteria, before=before, after=after, limit=PAGE + 1)
    more = len(found) > PAGE
    shown = (found[1:] if after else found[:PAGE]) if more else found
    active = {name: value for name, value in typed.items() if value}
    base = here("billing_history")

    def link(name: str, entry: query.HistoryEntry) -> str:
        return f"{base}?{urlencode({**active, name: cursor.write(entry.at, entry.id)})}"

    newer = link("after", shown[0]) if shown and (before or (after and more)) else None
    older = link("before", shown[-1]) if shown and (more if not after else True) else None
    page = render_template(
        "portal/billing_history.html",
        entries=shown,
        typed=typed,
        errors=errors,
        is_filtered=bool(active),
        newer=newer,
        older=older,
        businesses=businesses(),
        several=is_several(),
        states=[("", _("All")), ("paid", _("Paid")), ("open", _("Unpaid")), ("failed", _("Declined")), ("refunded", _("Refunded"))],
    )
    return (page, 400) if errors else page


def _filter(typed: dict[str, str], errors: dict[str, str]) -> query.Filter:
    since, until = _day(typed, "from", errors), _day(typed, "to", errors)
    if since and until and since > until:
        errors["to"] = _("The end date must not be before the start date.")
    if typed["state"] and typed["state"] not in query.STATES:
        errors["state"] = _("Choose a status from the list.")
    if typed["business"] and typed["business"] not in businesses():
        errors["business"] = _("You haven’t bought anything from this business.")
    search_text = " ".join(typed["q"].split())[:LONGEST]
    return query.Filter(
        business_id=typed["business"] or None,
        state=typed["state"] or None,
        since=_midnight(since),
        until=_midnight(until + timedelta(days=1)) if until else None,
        search=SearchResults.of(search_text).terms(search_text) if search_text and not errors else None,
    )


def _day(typed: dict[str, str], name: str, errors: dict[str, str]) -> date | None:
    if not typed[name]:
        return None
    try:
        day = date.fromisoformat(typed[name])
        if not 1970 <= day.year <= 2200:
            raise ValueError
    except ValueError:
        errors[name] = _("Enter a valid date, such as 2026-11-22.")
        return None
    return day


def _midnight(day: date | None) -> datetime | None:
    """Return the start of a day in the customer's time zone, as UTC."""
    return datetime.combine(day, time(), ZoneInfo(formatter().zone)).astimezone(UTC) if day else None
