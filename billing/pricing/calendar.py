"""Calculates renewal dates. The n-th date is computed from the anchor in the subscription's time zone, never from the previous date.

A subscription from 31 January renews on 28 February, then on 31 March. Dates strictly increase and are never early (safety 4.9).
"""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

Interval = Literal["Day", "Week", "Month", "Year"]
INTERVALS = ("Day", "Week", "Month", "Year")


def nth(anchor: datetime, zone: str, interval: str, count: int, n: int) -> datetime:
    """Return the instant `n` periods of `count` intervals after the anchor.

    It has the same wall time in `zone`. The day is at most the last day of the month.
    """
    if n == 0:
        return anchor.astimezone(UTC)  # exact even if the clock was put back and this wall time occurs twice
    local = anchor.astimezone(ZoneInfo(zone))
    steps = n * count
    if interval in ("Day", "Week"):
        result = local.replace(tzinfo=None) + timedelta(days=steps * (7 if interval == "Week" else 1))
    else:
        months = local.year * 12 + local.month - 1 + steps * (12 if interval == "Year" else 1)
        year, month = divmod(months, 12)
        day = min(local.day, calendar.monthrange(year, month + 1)[1])
        result = local.replace(tzinfo=None, year=year, month=month + 1, day=day)
    # A wall time that the clock skips is read with the offset before the gap, so the result is later and never earlier.
    return result.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC)


def add(start: datetime, zone: str, interval: str, count: int) -> datetime:
    return nth(start, zone, interval, count, 1)
