"""Renewals over a year with daylight saving, the 29th and 31st, a clock set back, three months of downtime, and moved dates.

The period number only increases. Each period is charged once, never early, at most once a day. At most two charges fall into the length
of one period however a business moves the dates, and each move is an event.
"""

from __future__ import annotations

import calendar
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from billing.model.invoices import Invoice
from billing.model.parties import Business
from billing.model.payments import Payment
from billing.pricing.calendar import nth
from billing.subscriptions.reschedule import move_next_date
from core import clock
from core.errors import Conflict, Invalid
from core.scope import everything, system
from tests.stories.business_and_buyer import Site, turn_to


@pytest.fixture
def engine(sqlite: Any) -> Any:
    """SQLite only; `test_year_of_renewals` runs on both engines."""
    return sqlite


def pass_time(span: timedelta) -> None:
    clock.turn(clock.offset() + span)


class Year:
    """One subscription. Call `look` after every step."""

    def __init__(self, services: Any, zone: str, first: datetime) -> None:
        turn_to(first)
        self.site = Site.open(services, zone=zone)
        self.site.subscribe()
        self.n, self.moves = 1, 0

    def look(self) -> None:
        row = self.site.subscription()
        assert row.status == "active" and row.period_n >= self.n and row.anchor_n <= row.period_n
        self.n = row.period_n
        made = self.renewals()
        numbers = [int(item.operation.rsplit(":", 1)[1]) for item in made]
        assert numbers == list(range(2, self.n + 1))  # each once, in order, none left out
        starts = [item.starts_at for item in made]
        assert starts == sorted(set(starts)) and all(item.ends_at > item.starts_at for item in made)
        assert all(item.starts_at <= item.issued_at for item in made)  # never early
        days = Counter(item.issued_at.date() for item in made)
        assert not days or max(days.values()) == 1

    def renewals(self) -> list[Invoice]:
        return sorted(self.site.rows(Invoice, kind="renewal"), key=lambda row: int(row.operation.rsplit(":", 1)[1]))

    def move(self, at: datetime) -> bool:
        try:
            with self.site.database.open(system(self.site.business_id), write=True) as db:
                move_next_date(db, self.site.subscription_id, at)
        except (Conflict, Invalid):
            return False
        self.moves += 1
        return True

    def done(self) -> None:
        paid = Counter(row.invoice_id for row in self.site.rows(Payment, status="succeeded"))
        assert set(paid.values()) == {1} and len(paid) == self.n == len(self.site.charges())
        assert self.site.events().count("subscription.next_billing_date_changed") == self.moves
        self.site.balanced()


@pytest.mark.parametrize(("zone", "first"), [
    ("America/New_York", datetime(2027, 1, 31, 7, 30, tzinfo=UTC)),  # 02:30, which 14 March does not have
    ("Europe/London", datetime(2027, 10, 31, 1, 30, tzinfo=UTC)),  # 01:30 for the second time that night
    ("Australia/Lord_Howe", datetime(2028, 1, 29, 15, 15, tzinfo=UTC)),  # half an hour of summer time
    ("Africa/Cairo", datetime(2027, 12, 29, 22, 15, tzinfo=UTC)),  # midnight itself is skipped
])  # fmt: skip
def test_renewals_follow_the_calendar(processor_services: Any, zone: str, first: datetime) -> None:
    year = Year(processor_services, zone, first)
    local = first.astimezone(ZoneInfo(zone))
    for _ in range(14):
        due = year.site.subscription().next_billing_at
        there = due.astimezone(ZoneInfo(zone))
        assert there.day == min(local.day, calendar.monthrange(there.year, there.month)[1]) and there.minute == local.minute
        gap = there.hour != local.hour
        assert not gap or timedelta(0) < there.replace(tzinfo=None) - there.replace(tzinfo=None, hour=local.hour) <= timedelta(hours=1)
        turn_to(due - timedelta(seconds=30))
        year.site.work()
        year.look()
        turn_to(due + timedelta(minutes=1))
        year.site.work()
        year.look()
    assert year.n == 15
    year.done()


@pytest.mark.parametrize("seed", range(3))
def test_renewals_hold_under_all_disturbances(processor_services: Any, seed: int) -> None:
    chance = random.Random(seed)
    year = Year(processor_services, "Europe/Berlin", datetime(2027, 1, chance.choice([29, 31]), 0, 30, tzinfo=UTC))
    down, back = chance.randrange(12, 30), set(chance.sample(range(45), 8))
    for step in range(45):
        pass_time(timedelta(days=chance.choice([0, 1, 5, 9]), hours=chance.randrange(24)))
        if step == down:
            pass_time(timedelta(days=90))
        if step in back:  # the server's clock is set back
            pass_time(-timedelta(days=chance.randrange(1, 4)))
        if step % 7 == 3:
            with year.site.database.open(everything("a zone is edited"), write=True) as db:
                db.scalar(select(Business)).zone = chance.choice(["Pacific/Kiritimati", "America/Los_Angeles", "Asia/Kathmandu"])
        if chance.random() < 0.3:
            year.move(clock.now() + timedelta(days=chance.choice([-1, 1, 3, 20, 45])))
        for _ in range(chance.choice([1, 2, 3])):
            year.site.work()
        year.look()
    assert year.site.subscription().zone == "Europe/Berlin" and year.n > 5
    year.done()


@pytest.mark.parametrize("greed", [timedelta(minutes=1), timedelta(days=6)])
def test_moving_dates_yields_at_most_two_charges_per_period(processor_services: Any, greed: timedelta) -> None:
    """The date is moved as early as allowed, repeatedly."""
    year = Year(processor_services, "America/New_York", datetime(2027, 1, 31, 14, tzinfo=UTC))
    ends, refused = clock.now() + timedelta(days=200), 0
    while clock.now() < ends:
        wanted = clock.now() + greed
        while wanted < year.site.subscription().next_billing_at and not year.move(wanted):
            refused, wanted = refused + 1, wanted + timedelta(days=2)
        due = year.site.subscription().next_billing_at
        if due > clock.now():  # else it was charged today already, and waits for tomorrow
            turn_to(due + timedelta(minutes=1))
        year.site.work()
        pass_time(timedelta(days=1))
        year.look()
    charged = sorted(row.issued_at for row in year.site.rows(Invoice))
    for at in charged:  # a period's length counted from any charge: a month from 28 February ends on 28 March
        within = [item for item in charged if at <= item < nth(at, "America/New_York", "Month", 1, 1)]
        assert len(within) <= 2, (at, within)
    assert refused and 7 < len(charged) <= 2 * 8
    year.done()
