"""Renewal dates are computed from the anchor in the subscription's zone, strictly increase, and are never early."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.pricing.calendar import INTERVALS, nth

ZONES = ["UTC", "Europe/London", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Santiago"]


def at(text: str, zone: str = "UTC", fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


@pytest.mark.parametrize(("year", "february"), [(2027, "02-28"), (2028, "02-29")])
def test_the_31st_of_january(year: int, february: str) -> None:
    anchor = at(f"{year}-01-31T12:00")
    dates = [nth(anchor, "UTC", "Month", 1, n).strftime("%m-%d") for n in range(5)]
    assert dates == ["01-31", february, "03-31", "04-30", "05-31"]


def test_a_leap_day_comes_back_after_four_years() -> None:
    anchor = at("2028-02-29T12:00")
    assert [nth(anchor, "UTC", "Year", 1, n).strftime("%m-%d") for n in range(1, 5)] == ["02-28", "02-28", "02-28", "02-29"]


@pytest.mark.parametrize(
    ("zone", "before", "after"),
    [("Europe/London", "2027-03-27T09:00", "2027-03-29T09:00"), ("America/New_York", "2027-03-13T09:00", "2027-03-15T09:00")],
)
def test_wall_time_is_kept_over_daylight_saving(zone: str, before: str, after: str) -> None:
    assert nth(at(before, zone), zone, "Day", 1, 2) == at(after, zone)
    assert at(after, zone) - at(before, zone) == timedelta(hours=47)


def test_a_nonexistent_time_is_moved_later() -> None:
    due = nth(at("2027-02-28T01:30", "Europe/London"), "Europe/London", "Month", 1, 1)
    assert due == at("2027-03-28T01:30")  # no change on this day's time: British Summer Time begins at 01:00 UTC
    assert due.astimezone(ZoneInfo("Europe/London")).strftime("%H:%M") == "02:30"


def test_a_repeated_time_is_the_first_of_both() -> None:
    zone = "America/New_York"
    assert nth(at("2027-10-07T01:30", zone), zone, "Month", 1, 1) == at("2027-11-07T01:30", zone)
    twice = at("2027-11-07T01:30", zone, fold=1)
    assert nth(twice, zone, "Month", 1, 0) == twice


@given(st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)), st.sampled_from(ZONES), st.sampled_from(INTERVALS), st.integers(1, 6))
def test_renewal_dates_increase_and_are_never_early(moment: datetime, zone: str, interval: str, count: int) -> None:
    anchor = moment.replace(tzinfo=UTC)
    dates = [nth(anchor, zone, interval, count, n) for n in range(30)]
    assert dates[0] == anchor
    assert all(item < two for item, two in pairwise(dates))
    local = anchor.astimezone(ZoneInfo(zone))
    for n, due in enumerate(dates[1:], start=1):
        there = due.astimezone(ZoneInfo(zone))
        assert (there.hour, there.minute) >= (local.hour, local.minute) or there.date() > local.date()
        if interval in ("Month", "Year"):
            assert (there.year * 12 + there.month) - (local.year * 12 + local.month) == n * count * (12 if interval == "Year" else 1)
            assert there.day <= local.day or there.hour < local.hour
