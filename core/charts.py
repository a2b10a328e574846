"""Data for the two charts of the dashboard: renewals of the next 60 days and spending of the last 12 months.

The page shows the same data as lists.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

DAYS = 61


@dataclass
class Day:
    date: dt.date
    is_monday: bool
    marks: list[Any] = field(default_factory=list)
    label: bool = False
    minor: bool = False  # hidden on a phone


def ruler_days(dated: Iterable[tuple[dt.date, Any]], today: dt.date) -> list[Day]:
    """Return 61 days from today on, each with the businesses that renew on it. Dates outside the range are left out."""
    days = [Day(today + dt.timedelta(n), (today + dt.timedelta(n)).weekday() == 0) for n in range(DAYS)]
    for date, business in dated:
        offset = (date - today).days
        if 0 <= offset < DAYS:
            days[offset].marks.append(business)
    for n in (0, 14, 30, 45, 60):
        days[n].label, days[n].minor = True, n in (14, 45)
    return days


@dataclass(frozen=True)
class Bar:
    x: int
    y: float
    height: float
    is_now: bool


def strip_bars(values: Sequence[int], height: int = 40, step: int = 20) -> list[Bar]:
    """Return the bars of one currency. `values`: minor units per month, oldest first. Negative months are drawn as zero."""
    top = max((value for value in values if value > 0), default=0)
    bars = []
    for n, value in enumerate(values):
        tall = round(max(value, 0) * (height - 2) / top, 1) if top else 0.0
        bars.append(Bar(n * step + 3, round(height - tall, 1), tall, n == len(values) - 1))
    return bars
