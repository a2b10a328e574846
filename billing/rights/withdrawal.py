"""Count the days of the right to withdraw.

The period begins with the day after the conclusion and ends with the last hour of its last day (Regulation (EEC) 1182/71, art. 3) in the
customer's country. If a country has several time zones, the one in which it ends last counts.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from babel.core import get_global

from billing.model.customer_types import CustomerType
from billing.rights.places import place_of
from billing.rights.table import WithdrawRule, withdraw_rule

SATURDAY = 5


def rule_for(address: Mapping[str, Any] | None, party: CustomerType) -> WithdrawRule:
    return withdraw_rule(place_of(address), party)


def period_end(rule: WithdrawRule, concluded_at: dt.datetime, country: str | None, zone: str) -> tuple[dt.date, dt.datetime]:
    """Return the last day of the period, and the first instant after it. `zone` counts if the country is not known."""
    ends = [_end_in(rule, concluded_at, ZoneInfo(name)) for name in _zones(country or "") or (zone,)]
    return max(ends, key=lambda end: end[1])


def refund_by(rule: WithdrawRule, declared_at: dt.datetime) -> dt.datetime:
    """Return the instant until which the money has to be back."""
    return declared_at + dt.timedelta(days=rule.refund_days)


def _end_in(rule: WithdrawRule, concluded_at: dt.datetime, zone: ZoneInfo) -> tuple[dt.date, dt.datetime]:
    day = concluded_at.astimezone(zone).date() + dt.timedelta(days=rule.days)
    while rule.working_day and (day.weekday() >= SATURDAY or day in _holidays(rule.holidays, day.year)):
        day += dt.timedelta(days=1)
    return day, dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), zone).astimezone(dt.UTC)


@functools.cache
def _holidays(rules: tuple[str, ...], year: int) -> frozenset[dt.date]:
    days = set()
    for text in rules:
        if text.startswith("easter"):
            days.add(easter(year) + dt.timedelta(days=int(text.removeprefix("easter"))))
        else:
            days.add(dt.date.fromisoformat(f"{year}-{text}"))
    return frozenset(days)


def easter(year: int) -> dt.date:
    """Return Easter Sunday of the western churches (the anonymous Gregorian algorithm)."""
    century, rest = divmod(year, 100)
    golden = year % 19
    epact = (19 * golden + century - century // 4 - (century - (century + 8) // 25 + 1) // 3 + 15) % 30
    weekday = (32 + 2 * (century % 4) + 2 * (rest // 4) - epact - rest % 4) % 7
    shift = (golden + 11 * epact + 22 * weekday) // 451
    month, day = divmod(epact + weekday - 7 * shift + 114, 31)
    return dt.date(year, month, day + 1)


@functools.cache
def _zones(country: str) -> tuple[str, ...]:
    """Return the time zones of a country (CLDR)."""
    return tuple(sorted(name for name, territory in get_global("zone_territories").items() if territory == country and _exists(name)))


def _exists(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True
