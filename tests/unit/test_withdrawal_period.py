"""The last day of the period for withdrawing: zones, daylight saving, weekends, holidays and the boundary instants."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from billing.rights.right import right
from billing.rights.table import withdraw_rule
from billing.rights.withdrawal import easter, period_end


@pytest.mark.parametrize(("country", "concluded", "last_day", "ends"), [
    # Berlin: 1 December 23:30 UTC is 2 December there
    ("DE", "2026-12-01T22:59:59", "2026-12-15", "2026-12-15T23:00"), ("DE", "2026-12-01T23:00:00", "2026-12-16", "2026-12-16T23:00"),
    # the clocks change within the period: the end is still midnight there
    ("DE", "2027-03-17T12:00:00", "2027-03-31", "2027-03-31T22:00"), ("DE", "2026-10-14T12:00:00", "2026-10-28", "2026-10-28T23:00"),
    # Saturday and Sunday: Monday; Good Friday to Easter Monday: Tuesday; 26 December is a Saturday, 27 a Sunday
    ("DE", "2026-11-21T12:00:00", "2026-12-07", "2026-12-07T23:00"), ("DE", "2027-03-12T12:00:00", "2027-03-30", "2027-03-30T22:00"),
    ("DE", "2026-12-11T12:00:00", "2026-12-28", "2026-12-28T23:00"),
    # Great Britain has no such rule for consumers
    ("GB", "2026-11-21T12:00:00", "2026-12-05", "2026-12-06T00:00"),
    # several zones: where the day ends last; Canary Islands
    ("ES", "2026-12-01T12:00:00", "2026-12-15", "2026-12-16T00:00"),
    # the holiday of another country does not count
    ("FR", "2026-09-21T12:00:00", "2026-10-05", "2026-10-05T22:00"), ("IT", "2026-06-18T12:00:00", "2026-07-02", "2026-07-02T22:00"),
])  # fmt: skip
def test_the_last_day(country: str, concluded: str, last_day: str, ends: str) -> None:
    found = period_end(withdraw_rule(country), datetime.fromisoformat(concluded).replace(tzinfo=UTC), country, "UTC")
    assert found == (date.fromisoformat(last_day), datetime.fromisoformat(ends).replace(tzinfo=UTC))


def test_the_last_instant_counts_and_the_next_does_not() -> None:
    concluded = datetime(2026, 12, 1, 12, tzinfo=UTC)
    end = period_end(withdraw_rule("DE"), concluded, "DE", "UTC")[1]
    for at, state in ((end - timedelta(microseconds=1), "open"), (end, "over")):
        assert right({"country": "DE"}, "consumer", concluded, zone="UTC", is_delivered=False, at=at).state == state


def test_an_unknown_country_counts_in_the_zone_of_the_business() -> None:
    concluded = datetime(2026, 12, 1, 12, tzinfo=UTC)
    found = right({}, "consumer", concluded, zone="Asia/Tokyo", is_delivered=False, at=concluded)
    assert (found.state, found.last_day, found.ends_at) == ("open", date(2026, 12, 15), datetime(2026, 12, 15, 15, tzinfo=UTC))
    assert right(None, "consumer", concluded, zone="UTC", is_delivered=True, at=concluded).state == "delivered"


@pytest.mark.parametrize(
    ("year", "day"), [(2024, date(2024, 3, 31)), (2026, date(2026, 4, 5)), (2027, date(2027, 3, 28)), (2038, date(2038, 4, 25))]
)
def test_easter(year: int, day: date) -> None:
    assert easter(year) == day
