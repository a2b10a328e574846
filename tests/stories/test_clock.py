"""The clock of a whole deployment: one process turns it, the others follow, and the time in between passes faithfully."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from billing import dunning
from billing.invoices import Invoice
from billing.reminders import Reminder
from billing.subscriptions import Subscription
from core import clock, schema
from core.db import Database
from core.scope import everything
from core.settings import Settings
from core.shared_clock import SharedClock
from core.web import House
from core.worker import Tick
from tenants.clock.turning import Turning
from tests.cast import Cast
from tests.stories.shop import Shop, turn_to

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def serving(house: House) -> Iterator[None]:
    """As `flask serve` runs: the application here, its worker in a thread."""
    stop = threading.Event()
    thread = threading.Thread(target=house.worker.run_forever, args=(stop,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        house.worker.wake()
        thread.join(20)


def soon(true: Callable[[], bool]) -> bool:
    until = time.monotonic() + 20
    while not (found := true()) and time.monotonic() < until:
        time.sleep(0.1)
    return found


def flask(house: House, *words: str) -> subprocess.CompletedProcess[str]:
    """A command of another process on the same deployment."""
    settings = house.settings
    environ = {**os.environ, "DATABASE_URL": settings.database_url, "DATABASE_OWNER_URL": settings.database_owner_url,
               "PORTAL_BASE_URL": settings.base_url, "PORTAL_DATA_DIR": str(settings.data_dir), "PORTAL_MODE": settings.mode}
    return subprocess.run([sys.executable, "-m", "flask", "--app", "wsgi", *words], cwd=ROOT, env=environ, capture_output=True, text=True,
                          timeout=120)


def test_another_process_turns_the_clock_and_the_portal_follows(house: House, cast: Cast, visitor: Any) -> None:
    ada = visitor()
    ada.sign_in(cast.ADA)
    assert "It is" not in ada.get("/").soup.select_one(".test").get_text()
    due = _subscription(house, cast.ada_at_acorn.subscription_id).next_billing_at
    with serving(house):
        done = flask(house, "clock", "--forward", "2m")
        assert done.returncode == 0, done.stderr
        assert "6 renewed" in done.stdout  # two of Ada's and one of Ben's, twice
        assert soon(lambda: clock.offset() > timedelta(days=58))
        assert f"{clock.now():%B %Y} here." in ada.get("/").soup.select_one(".test").get_text()
        assert "real time" in flask(house, "clock", "--reset").stdout
        assert soon(lambda: not clock.offset())
    row = _subscription(house, cast.ada_at_acorn.subscription_id)
    assert row.period_n == 3 and row.next_billing_at > due + timedelta(days=50)
    with house.database.open(everything("read a story")) as db:
        issued = sorted(db.scalars(select(Invoice.issued_at).where(Invoice.subscription_id == row.id)))
    assert timedelta(0) <= issued[1] - due < timedelta(minutes=2)  # on its day, not when the clock arrived
    assert sum("Acorn Team" in one.text for one in ada.letters(cast.ADA)) >= 2


def _subscription(house: House, one: str) -> Subscription:
    with house.database.open(everything("read a story")) as db:
        found = db.scalars(select(Subscription).where(Subscription.id == one)).one()
        db.expunge(found)
        return found


def test_the_page_says_where_to_and_the_worker_goes_there(house: House, cast: Cast, visitor: Any) -> None:
    ben = visitor()
    assert "shows real time" in ben.get("/clock").text
    assert "only goes forward" in ben.post("/clock", {"turn": "day", "day": "2020-01-01"}, expect=422).text
    assert "Choose a day" in ben.post("/clock", {"turn": "anything"}, expect=422).text
    ben.get("/clock")
    assert "On the way" in ben.submit("clock", turn="next").text
    there = ben.path
    with serving(house):
        assert soon(lambda: "On the way" not in ben.get(there).text)
    assert re.search("Meanwhile: (one renewal|[23] renewals)", ben.get(there).text)  # the cast bought within a second
    assert _subscription(house, cast.ada_at_acorn.subscription_id).period_n == 2
    assert "shows real time" in ben.post("/clock", {"turn": "reset"}).text and not clock.offset()


def test_the_page_is_for_operators(house: House, cast: Cast, app: Any) -> None:
    for path in ("/clock", "/mailbox"):
        assert app.test_client().get(path, base_url="http://127.0.0.1").status_code == 200
        assert app.test_client().get(path, base_url="http://somewhere.example").status_code == 421


def test_renewals_of_every_day_are_neither_eaten_nor_doubled(till_house: House) -> None:
    """Half past midnight in London is the day before in UTC as soon as summer comes: two dates fall on one UTC day (safety 4.9)."""
    turn_to(datetime(2027, 3, 22, 0, 30, tzinfo=UTC))
    shop = Shop.open(till_house)
    daily = {**shop.monthly(300), "payment_frequency_interval": "Day"}
    shop.monthly = lambda *_a, **_k: daily  # type: ignore[method-assign]
    shop.subscribe()
    shop.work()
    shared = SharedClock(till_house.database)
    shared.head_for(datetime(2027, 4, 6, 12, tzinfo=UTC))
    stops = list(Turning(till_house, shared).steps())
    assert stops == sorted(set(stops)) and stops[-1] == datetime(2027, 4, 6, 12, tzinfo=UTC)
    assert len(shop.charges()) == 16  # 22 March and the 15 days after it
    periods = sorted((one.starts_at, one.ends_at) for one in shop.rows(Invoice))
    assert all(abs(one[1] - other[0]) < timedelta(seconds=1) for one, other in zip(periods, periods[1:], strict=False))
    shop.balanced()


def test_a_debt_is_reminded_of_on_its_days(till_house: House) -> None:
    till_house.worker.ticks.append(Tick("dunning", timedelta(0), lambda: dunning.run_due(till_house.till)))
    shop = Shop.open(till_house)
    shop.subscribe(card="4000000000000341")
    due = shop.subscription().next_billing_at
    shared = SharedClock(till_house.database)
    shared.head_for(due + timedelta(days=10))
    list(Turning(till_house, shared).steps())
    held = shop.subscription()
    assert held.status == "on_hold" and abs(held.on_hold_at - due) < timedelta(minutes=1)
    said = [one.at - held.on_hold_at for one in sorted(shop.rows(Reminder, purpose="dunning"), key=lambda one: one.step)]
    assert [one.days for one in said] == [1, 3, 5, 7] and all(one.seconds < 60 for one in said)


def test_an_outcome_nobody_knew_is_asked_about_as_time_passes(till_house: House) -> None:
    shop = Shop.open(till_house)
    shop.subscribe()
    shop.gateway.turn_knob("next_charge", "lost")
    shared = SharedClock(till_house.database)
    shared.head_for(shop.subscription().next_billing_at + timedelta(days=40))
    list(Turning(till_house, shared).steps())
    assert shop.subscription().period_n == 3 and len(shop.charges()) == 3
    shop.balanced()


def test_one_turns_at_a_time_and_anybody_may_stop_it(till_house: House) -> None:
    shop = Shop.open(till_house)
    shop.subscribe()
    shared = SharedClock(till_house.database)
    shared.head_for(clock.now() + timedelta(days=20))
    steps = Turning(till_house, shared).steps()
    first = next(steps)
    other = Turning(till_house, SharedClock(till_house.database))
    name, till_house.worker.name = till_house.worker.name, "another process"
    assert not list(other.steps())
    till_house.worker.name = name
    SharedClock(till_house.database).head_for(None)
    assert not list(steps) and abs(clock.now() - first) < timedelta(minutes=1)


def test_in_live_mode_there_is_no_clock_to_turn(settings: Settings, make_app: Callable[..., Any]) -> None:
    database = Database(settings)
    with database.open(everything("a test turns the stamp"), write=True) as db:
        db.get(schema.Deployment, "this").mode = "live"
    database.dispose()
    app = make_app(replace(settings, mode="live", gateway="none", base_url="https://portal.example", secret_keys=("k" * 40,),
                           mail_server="127.0.0.1", allow_sqlite=True))
    refused = app.test_cli_runner().invoke(args=["clock", "--forward", "31d"])
    assert refused.exit_code != 0 and "PORTAL_MODE is live" in refused.output and not clock.offset()
    assert app.test_client().get("/clock", base_url="https://portal.example").status_code == 404
