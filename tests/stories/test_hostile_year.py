"""A year against the calendar: clocks that change, the 29th and 31st, a clock set back, three months down, a zone edited, dates moved.

Whatever happens: the number of the period only rises, each is charged once, never early, at most once a day; and however a
merchant moves the dates, no more than two charges fall into the length of one period, each move told in the history.
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

from billing.calendar import nth
from billing.commands.moving_dates import move_next_date
from billing.invoices import Invoice
from billing.parties import Business
from billing.payments import Payment
from core import clock
from core.errors import Conflict, Invalid
from core.scope import everything, system
from tests.stories.shop import Shop, turn_to


@pytest.fixture
def engine(sqlite: Any) -> Any:
    """Dates know no engine; `test_year_of_renewals` has both."""
    return sqlite


def pass_time(span: timedelta) -> None:
    clock.turn(clock.offset() + span)


class Year:
    """One subscription, watched: `look` after every step."""

    def __init__(self, house: Any, zone: str, first: datetime) -> None:
        turn_to(first)
        self.shop = Shop.open(house, zone=zone)
        self.shop.subscribe()
        self.n, self.moves = 1, 0

    def look(self) -> None:
        row = self.shop.subscription()
        assert row.status == "active" and row.period_n >= self.n and row.anchor_n <= row.period_n
        self.n = row.period_n
        made = self.renewals()
        numbers = [int(one.operation.rsplit(":", 1)[1]) for one in made]
        assert numbers == list(range(2, self.n + 1))  # each once, in order, none left out
        starts = [one.starts_at for one in made]
        assert starts == sorted(set(starts)) and all(one.ends_at > one.starts_at for one in made)
        assert all(one.starts_at <= one.issued_at for one in made)  # never early
        days = Counter(one.issued_at.date() for one in made)
        assert not days or max(days.values()) == 1

    def renewals(self) -> list[Invoice]:
        return sorted(self.shop.rows(Invoice, kind="renewal"), key=lambda one: int(one.operation.rsplit(":", 1)[1]))

    def move(self, at: datetime) -> bool:
        try:
            with self.shop.database.open(system(self.shop.business_id), write=True) as db:
                move_next_date(db, self.shop.subscription_id, at)
        except (Conflict, Invalid):
            return False
        self.moves += 1
        return True

    def done(self) -> None:
        paid = Counter(one.invoice_id for one in self.shop.rows(Payment, status="succeeded"))
        assert set(paid.values()) == {1} and len(paid) == self.n == len(self.shop.charges())
        assert self.shop.events().count("subscription.next_billing_date_changed") == self.moves
        self.shop.balanced()


@pytest.mark.parametrize(("zone", "first"), [
    ("America/New_York", datetime(2027, 1, 31, 7, 30, tzinfo=UTC)),  # 02:30, which 14 March does not have
    ("Europe/London", datetime(2027, 10, 31, 1, 30, tzinfo=UTC)),  # 01:30 for the second time that night
    ("Australia/Lord_Howe", datetime(2028, 1, 29, 15, 15, tzinfo=UTC)),  # half an hour of summer time
    ("Africa/Cairo", datetime(2027, 12, 29, 22, 15, tzinfo=UTC)),  # midnight itself is skipped
])  # fmt: skip
def test_the_calendar_alone(till_house: Any, zone: str, first: datetime) -> None:
    year = Year(till_house, zone, first)
    local = first.astimezone(ZoneInfo(zone))
    for _ in range(14):
        due = year.shop.subscription().next_billing_at
        there = due.astimezone(ZoneInfo(zone))
        assert there.day == min(local.day, calendar.monthrange(there.year, there.month)[1]) and there.minute == local.minute
        gap = there.hour != local.hour
        assert not gap or timedelta(0) < there.replace(tzinfo=None) - there.replace(tzinfo=None, hour=local.hour) <= timedelta(hours=1)
        turn_to(due - timedelta(seconds=30))
        year.shop.work()
        year.look()
        turn_to(due + timedelta(minutes=1))
        year.shop.work()
        year.look()
    assert year.n == 15
    year.done()


@pytest.mark.parametrize("seed", range(3))
def test_everything_at_once(till_house: Any, seed: int) -> None:
    chance = random.Random(seed)
    year = Year(till_house, "Europe/Berlin", datetime(2027, 1, chance.choice([29, 31]), 0, 30, tzinfo=UTC))
    down, back = chance.randrange(12, 30), set(chance.sample(range(45), 8))
    for step in range(45):
        pass_time(timedelta(days=chance.choice([0, 1, 5, 9]), hours=chance.randrange(24)))
        if step == down:
            pass_time(timedelta(days=90))
        if step in back:  # somebody sets the server's clock back
            pass_time(-timedelta(days=chance.randrange(1, 4)))
        if step % 7 == 3:
            with year.shop.database.open(everything("a zone is edited"), write=True) as db:
                db.scalar(select(Business)).zone = chance.choice(["Pacific/Kiritimati", "America/Los_Angeles", "Asia/Kathmandu"])
        if chance.random() < 0.3:
            year.move(clock.now() + timedelta(days=chance.choice([-1, 1, 3, 20, 45])))
        for _ in range(chance.choice([1, 2, 3])):
            year.shop.work()
        year.look()
    assert year.shop.subscription().zone == "Europe/Berlin" and year.n > 5
    year.done()


@pytest.mark.parametrize("greed", [timedelta(minutes=1), timedelta(days=6)])
def test_a_greedy_merchant_gets_two_charges_in_a_period_at_most(till_house: Any, greed: timedelta) -> None:
    """As early as it is let, again and again."""
    year = Year(till_house, "America/New_York", datetime(2027, 1, 31, 14, tzinfo=UTC))
    ends, refused = clock.now() + timedelta(days=200), 0
    while clock.now() < ends:
        wanted = clock.now() + greed
        while wanted < year.shop.subscription().next_billing_at and not year.move(wanted):
            refused, wanted = refused + 1, wanted + timedelta(days=2)
        due = year.shop.subscription().next_billing_at
        if due > clock.now():  # else it was charged today already, and waits for tomorrow
            turn_to(due + timedelta(minutes=1))
        year.shop.work()
        pass_time(timedelta(days=1))
        year.look()
    charged = sorted(one.issued_at for one in year.shop.rows(Invoice))
    for at in charged:  # a period's length counted from any charge: a month from 28 February ends on 28 March
        within = [one for one in charged if at <= one < nth(at, "America/New_York", "Month", 1, 1)]
        assert len(within) <= 2, (at, within)
    assert refused and 7 < len(charged) <= 2 * 8
    year.done()
