"""The two pictures of the dashboard, as numbers: sixty days ahead, and twelve months back. Lists beside them say the same."""

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
    minor: bool = False  # left out on a phone


def ruler_days(dated: Iterable[tuple[dt.date, Any]], today: dt.date) -> list[Day]:
    """61 cells, today to day 60, each with the businesses that renew on it; marks outside the span are left out."""
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
    """Bars of one currency on one scale: minor units per month, oldest first, the last one is now. Negative months show as zero."""
    top = max((value for value in values if value > 0), default=0)
    bars = []
    for n, value in enumerate(values):
        tall = round(max(value, 0) * (height - 2) / top, 1) if top else 0.0
        bars.append(Bar(n * step + 3, round(height - tall, 1), tall, n == len(values) - 1))
    return bars
