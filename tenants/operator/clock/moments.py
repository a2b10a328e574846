"""Parse how far to move the clock: a span such as `31d`, `2w`, `3m` or `1y`, or a date."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time

from billing.pricing.calendar import nth
from core.errors import N_, Invalid

_SPAN = re.compile(r"(\d{1,4}) ?([dwmy])", re.IGNORECASE)
_UNITS = {"d": "Day", "w": "Week", "m": "Month", "y": "Year"}
FARTHEST = 10  # years from today


def later(start: datetime, span: str) -> datetime:
    """Return `start` plus a number of days, weeks, months or years, such as later(at, "31d"). Raises Invalid."""
    found = _SPAN.fullmatch(span.strip())
    if found is None or not int(found[1]):
        raise Invalid(fields={"span": N_("Enter a span such as 31d, 2w, 3m or 1y.")})
    return nth(start, "UTC", _UNITS[found[2].lower()], int(found[1]), 1)


def noon(day: str) -> datetime:
    """Return noon UTC of an ISO date, which is the same day in nearly every time zone. Raises Invalid."""
    try:
        return datetime.combine(date.fromisoformat(day.strip()), time(12), UTC)
    except ValueError:
        raise Invalid(fields={"day": N_("Enter a date such as 2027-03-01.")}) from None


def checked(goal: datetime, now: datetime, wall: datetime) -> datetime:
    """Return the goal if the clock can move to it. Raises Invalid if it is past or too far."""
    if goal <= now:
        raise Invalid(fields={"past": N_("The clock only moves forward. Use --reset to go back to today.")})
    if goal.year - wall.year > FARTHEST:
        raise Invalid(fields={"far": f"That is more than {FARTHEST} years away."})
    return goal
