"""The billing clock of a deployment: one process moves it, the others follow, and everything due in between runs."""

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

from billing.model.invoices import Invoice
from billing.model.sent_notices import SentNotice
from billing.model.subscriptions import Subscription
from billing.renewals import dunning
from core import clock, schema
from core.db import Database
from core.scope import everything
from core.services import Services
from core.settings import Settings
from core.shared_clock import SharedClock
from core.worker import Tick
from tenants.operator.clock.turning import Turning
from tests.cast import Cast
from tests.conftest import on_sqlite
from tests.stories.business_and_buyer import Site, turn_to

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def serving(services: Services) -> Iterator[None]:
    """Run as `flask serve` does: the application here, its worker in a thread."""
    stop = threading.Event()
    thread = threading.Thread(target=services.worker.run_forever, args=(stop,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        services.worker.wake()
        thread.join(20)


def soon(true: Callable[[], bool]) -> bool:
    until = time.monotonic() + 90
    while not (found := true()) and time.monotonic() < until:
        time.sleep(0.5)
    return found


def flask(services: Services, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in another process of the same deployment."""
    settings = services.settings
    environ = {
        **os.environ,
        "DATABASE_URL": settings.database_url,
        "DATABASE_OWNER_URL": settings.database_owner_url,
        "PORTAL_BASE_URL": settings.base_url,
        "PORTAL_DATA_DIR": str(settings.data_dir),
        "PORTAL_MODE": settings.mode,
    }
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", *words], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120
    )


def test_every_process_follows_the_turned_clock(services: Services, cast: Cast, visitor: Any) -> None:
    ada = visitor()
    ada.sign_in(cast.ADA)
    assert "The test clock is set to" not in ada.get("/").soup.select_one(".test").get_text()
    due = _subscription(services, cast.ada_at_acorn.subscription_id).next_billing_at
    with serving(services):
        done = flask(services, "clock", "--forward", "32d")
        assert done.returncode == 0, done.stderr
        assert "3 renewed" in done.stdout  # two of Ada's and one of Ben's
        assert soon(lambda: clock.offset() > timedelta(days=31))
        banner = ada.get("/").soup.select_one(".test").get_text()
        assert re.search(rf"The test clock is set to \d+ {clock.now():%B %Y}\.", banner)
        assert "real time" in flask(services, "clock", "--reset").stdout
        assert soon(lambda: not clock.offset())
    row = _subscription(services, cast.ada_at_acorn.subscription_id)
    assert row.period_n == 2 and row.next_billing_at > due + timedelta(days=25)
    with services.database.open(everything("read a story")) as db:
        issued = sorted(db.scalars(select(Invoice.issued_at).where(Invoice.subscription_id == row.id)))
    assert timedelta(0) <= issued[1] - due < timedelta(minutes=2)  # on its day, not when the clock arrived
    assert sum("Acorn Team" in email.text for email in ada.emails(cast.ADA)) >= 1


def _subscription(services: Services, item: str) -> Subscription:
    with services.database.open(everything("read a story")) as db:
        found = db.scalars(select(Subscription).where(Subscription.id == item)).one()
        db.expunge(found)
        return found


@on_sqlite
def test_the_clock_page_requests_a_time_and_the_worker_moves_there(services: Services, cast: Cast, visitor: Any) -> None:
    ben = visitor()
    assert "shows real time" in ben.get("/clock").text
    assert "only goes forward" in ben.post("/clock", {"turn": "day", "day": "2020-01-01"}, expect=422).text
    assert "Choose a day" in ben.post("/clock", {"turn": "anything"}, expect=422).text
    ben.get("/clock")
    assert "Moving the clock" in ben.submit("clock", turn="next").text
    there = ben.path
    with serving(services):
        assert soon(lambda: "Moving the clock" not in ben.get(there).text)
    assert re.search("In the meantime: (one renewal|[23] renewals)", ben.get(there).text)  # the cast bought within a second
    assert _subscription(services, cast.ada_at_acorn.subscription_id).period_n == 2
    assert "shows real time" in ben.post("/clock", {"turn": "reset"}).text and not clock.offset()


@on_sqlite
def test_the_clock_page_is_for_operators(services: Services, cast: Cast, app: Any) -> None:
    for path in ("/clock", "/mailbox"):
        assert app.test_client().get(path, base_url="http://127.0.0.1").status_code == 200
        assert app.test_client().get(path, base_url="http://somewhere.example").status_code == 421


def every(site: Site, interval: str) -> None:
    """Let subscriptions of this site renew every `interval`: Day, Week."""
    price = {**site.monthly(300), "payment_frequency_interval": interval}
    site.monthly = lambda *_a, **_k: price  # type: ignore[method-assign]


def test_daily_renewals_are_neither_skipped_nor_doubled(processor_services: Services) -> None:
    """Half past midnight in London is the previous UTC day in summer, so two dates fall on one UTC day (safety 4.9)."""
    turn_to(datetime(2027, 3, 22, 0, 30, tzinfo=UTC))
    site = Site.open(processor_services)
    every(site, "Day")
    site.subscribe()
    site.work()
    shared = SharedClock(processor_services.database)
    shared.head_for(datetime(2027, 4, 6, 12, tzinfo=UTC))
    stops = list(Turning(processor_services, shared).steps())
    assert stops == sorted(set(stops)) and stops[-1] == datetime(2027, 4, 6, 12, tzinfo=UTC)
    assert len(site.charges()) == 16  # 22 March and the 15 days after it
    periods = sorted((row.starts_at, row.ends_at) for row in site.rows(Invoice))
    assert all(abs(item[1] - other[0]) < timedelta(seconds=1) for item, other in zip(periods, periods[1:], strict=False))
    site.balanced()


@on_sqlite
def test_dunning_emails_are_sent_on_their_days(processor_services: Services) -> None:
    processor_services.worker.ticks.append(Tick("dunning", timedelta(0), lambda: dunning.run_due(processor_services.processor)))
    site = Site.open(processor_services)
    every(site, "Week")
    site.subscribe(card="4000000000000341")
    due = site.subscription().next_billing_at
    shared = SharedClock(processor_services.database)
    shared.head_for(due + timedelta(days=10))
    list(Turning(processor_services, shared).steps())
    held = site.subscription()
    assert held.status == "on_hold" and abs(held.on_hold_at - due) < timedelta(minutes=1)
    said = [row.at - held.on_hold_at for row in sorted(site.rows(SentNotice, purpose="dunning"), key=lambda row: row.step)]
    assert [item.days for item in said] == [1, 3, 5, 7] and all(item.seconds < 60 for item in said)


def test_unknown_outcomes_are_looked_up_as_time_passes(processor_services: Services) -> None:
    site = Site.open(processor_services)
    every(site, "Week")
    site.subscribe()
    site.gateway.turn_knob("next_charge", "lost")
    shared = SharedClock(processor_services.database)
    shared.head_for(site.subscription().next_billing_at + timedelta(days=8))
    list(Turning(processor_services, shared).steps())
    assert site.subscription().period_n == 3 and len(site.charges()) == 3
    site.balanced()


def test_one_process_turns_the_clock_and_any_may_stop_it(processor_services: Services) -> None:
    site = Site.open(processor_services)
    site.subscribe()
    shared = SharedClock(processor_services.database)
    shared.head_for(clock.now() + timedelta(days=20))
    steps = Turning(processor_services, shared).steps()
    first = next(steps)
    other = Turning(processor_services, SharedClock(processor_services.database))
    name, processor_services.worker.name = processor_services.worker.name, "another process"
    assert not list(other.steps())
    processor_services.worker.name = name
    SharedClock(processor_services.database).head_for(None)
    assert not list(steps) and abs(clock.now() - first) < timedelta(minutes=1)


def test_in_live_mode_there_is_no_clock_to_turn(settings: Settings, make_app: Callable[..., Any]) -> None:
    database = Database(settings)
    with database.open(everything("a test turns the stamp"), write=True) as db:
        db.get(schema.Deployment, "this").mode = "live"
    database.dispose()
    app = make_app(
        replace(
            settings,
            mode="live",
            gateway="none",
            base_url="https://portal.example",
            secret_keys=("k" * 40,),
            mail_server="127.0.0.1",
            allow_sqlite=True,
        )
    )
    refused = app.test_cli_runner().invoke(args=["clock", "--forward", "31d"])
    assert refused.exit_code != 0 and "PORTAL_MODE is live" in refused.output and not clock.offset()
    assert app.test_client().get("/clock", base_url="https://portal.example").status_code == 404
