"""Billing history: every payment, invoice and refund, filtered and paged."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from flask import render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.queries import history as query
from core.pages import words
from core.web import db, here
from portal import bp, cursor
from portal.search import LONGEST, Found
from portal.standing import businesses, is_several

PAGE = 25


@bp.get("/billing-history")
def billing_history() -> ResponseReturnValue:
    typed = {name: request.args.get(name, "").strip() for name in ("business", "state", "from", "to", "q")}
    errors: dict[str, str] = {}
    narrowed = _filter(typed, errors)
    before, after = cursor.read(request.args.get("before")), cursor.read(request.args.get("after"))
    found = [] if errors else query.entries(db(replica=True), narrowed, before=before, after=after, limit=PAGE + 1)
    more = len(found) > PAGE
    shown = (found[1:] if after else found[:PAGE]) if more else found
    kept = {name: value for name, value in typed.items() if value}
    base = here("billing_history")

    def link(name: str, entry: query.Entry) -> str:
        return f"{base}?{urlencode({**kept, name: cursor.write(entry.at, entry.id)})}"

    newer = link("after", shown[0]) if shown and (before or (after and more)) else None
    older = link("before", shown[-1]) if shown and (more if not after else True) else None
    page = render_template(
        "portal/billing_history.html",
        entries=shown,
        typed=typed,
        errors=errors,
        is_filtered=bool(kept),
        newer=newer,
        older=older,
        businesses=businesses(),
        several=is_several(),
        states=[("", _("Any")), ("paid", _("Paid")), ("open", _("Not paid")), ("failed", _("Declined")), ("refunded", _("Refunded"))],
    )
    return (page, 400) if errors else page


def _filter(typed: dict[str, str], errors: dict[str, str]) -> query.Filter:
    since, until = _day(typed, "from", errors), _day(typed, "to", errors)
    if since and until and since > until:
        errors["to"] = _("This day is before the first one.")
    if typed["state"] and typed["state"] not in query.STATES:
        errors["state"] = _("Choose one of the states.")
    if typed["business"] and typed["business"] not in businesses():
        errors["business"] = _("You have bought nothing from this business.")
    asked = " ".join(typed["q"].split())[:LONGEST]
    return query.Filter(
        business_id=typed["business"] or None,
        state=typed["state"] or None,
        since=_midnight(since),
        until=_midnight(until + timedelta(days=1)) if until else None,
        words=Found.of(asked).words(asked) if asked and not errors else None,
    )


def _day(typed: dict[str, str], name: str, errors: dict[str, str]) -> date | None:
    if not typed[name]:
        return None
    try:
        day = date.fromisoformat(typed[name])
        if not 1970 <= day.year <= 2200:
            raise ValueError
    except ValueError:
        errors[name] = _("This is not a day. Days look like 2026-11-22.")
        return None
    return day


def _midnight(day: date | None) -> datetime | None:
    """The first instant of a day, in the reader's zone."""
    return datetime.combine(day, time(), ZoneInfo(words().zone)).astimezone(UTC) if day else None
