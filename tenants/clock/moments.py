"""How far, in the words of a command line: `31d`, `2w`, `3m`, `1y`, or a day."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time

from billing.calendar import nth
from core.errors import Invalid

_SPAN = re.compile(r"(\d{1,4}) ?([dwmy])", re.IGNORECASE)
_UNITS = {"d": "Day", "w": "Week", "m": "Month", "y": "Year"}
FARTHEST = 10  # years from today: certificates, cards and terms of sale end somewhere


def later(start: datetime, span: str) -> datetime:
    """`start` and so many days, weeks, months or years: later(at, "31d"). Raises Invalid."""
    found = _SPAN.fullmatch(span.strip())
    if found is None or not int(found[1]):
        raise Invalid(fields={"span": "Say how far as 31d, 2w, 3m or 1y."})
    return nth(start, "UTC", _UNITS[found[2].lower()], int(found[1]), 1)


def noon(day: str) -> datetime:
    """Noon (UTC) of a day written 2027-03-01, so that it is that day nearly everywhere. Raises Invalid."""
    try:
        return datetime.combine(date.fromisoformat(day.strip()), time(12), UTC)
    except ValueError:
        raise Invalid(fields={"day": "Write the day as 2027-03-01."}) from None


def checked(goal: datetime, now: datetime, wall: datetime) -> datetime:
    """A goal that can be gone to. Raises Invalid."""
    if goal <= now:
        raise Invalid(fields={"past": "The clock only goes forward. Reset it to go back to today."})
    if goal.year - wall.year > FARTHEST:
        raise Invalid(fields={"far": f"That is more than {FARTHEST} years away."})
    return goal
