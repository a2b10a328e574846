"""A replica that is down, silent or behind affects no page, and people read their own changes. Uses a real standby."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.exc import DBAPIError

from core import replica as replicas
from core.guard import raw_sql
from core.settings import Settings
from tests.cast import Cast
from tests.harness.database_proxy import DatabaseProxy, database_proxy
from tests.stories.standby import Standby
from tests.visitor import Visitor

pytestmark = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)


@pytest.fixture(scope="module")
def standby(postgres: Any) -> Iterator[Standby]:
    item = Standby(postgres)
    yield item
    item.close()


@pytest.fixture
def proxy(settings: Settings, standby: Standby) -> Iterator[DatabaseProxy]:
    with database_proxy(standby.url(settings.database_url)) as item:
        yield item


@pytest.fixture
def app(settings: Settings, proxy: DatabaseProxy, standby: Standby, make_app: Callable[..., Flask]) -> Flask:
    standby.catch_up()
    return make_app(replace(settings, database_replica_url=proxy.url(standby.url(settings.database_url))))


@pytest.fixture
def reader(app: Flask, cast: Cast, standby: Standby, monkeypatch: pytest.MonkeyPatch) -> Visitor:
    """Ada, some time after sign-in, so that she reads from the replica."""
    ada = Visitor(app)
    ada.sign_in(Cast.ADA)
    monkeypatch.setattr("core.read_your_writes.STICK", 0)
    standby.catch_up()
    return ada


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas, "CHECK_EVERY", 0.2)
    monkeypatch.setattr(replicas, "PATIENCE", 1.0)


def _until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_pages_read_from_the_replica(reader: Visitor, proxy: DatabaseProxy) -> None:
    before = proxy.passed
    assert "Acorn Team" in reader.get("/").text
    assert proxy.passed > before


def test_a_replica_that_is_down_affects_no_page(reader: Visitor, proxy: DatabaseProxy) -> None:
    proxy.cut()
    for path in ("/", "/subscriptions", "/billing-history"):
        reader.get(path)
    ready = reader.app.test_client().get("/readyz")
    assert ready.status_code == 200 and "the replica does not answer" in ready.get_json()["notes"][0]
    metrics = reader.app.test_client().get("/metrics").text
    assert "portal_replica_up 0.0" in metrics and "portal_replica_lag_seconds NaN" in metrics
    proxy.restore()
    _until(lambda: not reader.app.test_client().get("/readyz").get_json()["notes"])
    before = proxy.passed
    reader.get("/")
    assert proxy.passed > before, "it is used again"


def test_a_replica_that_is_down_at_start_affects_no_page(
    app: Flask, cast: Cast, proxy: DatabaseProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.cut()
    monkeypatch.setattr("core.read_your_writes.STICK", 0)
    ada = Visitor(app)
    ada.sign_in(Cast.ADA)
    assert "Acorn Team" in ada.get("/").text


def test_a_suspended_replica_delays_a_page_for_seconds_only(reader: Visitor, standby: Standby) -> None:
    """The server keeps its connections open and does not answer."""
    reader.get("/")
    standby.suspend()
    try:
        began = time.monotonic()
        assert "Acorn Team" in reader.get("/").text
        assert time.monotonic() - began < 8
        began = time.monotonic()
        reader.get("/subscriptions")
        assert time.monotonic() - began < 2, "it is known to be down; nobody else waits"
    finally:
        standby.resume()


def test_a_replica_that_closes_connections_is_still_monitored(app: Flask, reader: Visitor) -> None:
    """After a restart or a recovery conflict the replica is used again as soon as it answers."""
    found = app.extensions["portal"].database.replica
    reader.get("/")
    with raw_sql(), pytest.raises(DBAPIError), found.engine.connect() as connection:
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with raw_sql(), found.engine.connect() as other:
            other.exec_driver_sql(f"SELECT pg_terminate_backend({pid})")
        connection.exec_driver_sql("SELECT 1 FROM pg_sleep(0.2)")
    found.mark_down()
    time.sleep(2 * replicas.PATIENCE)
    assert found._thread.is_alive() and not found._open
    _until(found.usable)


def test_a_replica_that_lags_is_not_read_from(reader: Visitor, cast: Cast, standby: Standby, monkeypatch: pytest.MonkeyPatch) -> None:
    subscription_id = cast.ada_at_acorn.subscription_id
    monkeypatch.setattr(replicas, "MAX_LAG", 0.5)
    reader.get("/")
    standby.execute("SELECT pg_wal_replay_pause()::text")
    try:
        path = f"/subscriptions/{subscription_id}"
        reader.get(f"{path}/cancellation")
        reader.submit("cancellation")
        _until(lambda: any("seconds behind" in note for note in reader.app.test_client().get("/readyz").get_json()["notes"]))
        assert "Ending" in reader.get("/subscriptions").text
        assert re.search(r"portal_replica_lag_seconds [0-9]", reader.app.test_client().get("/metrics").text)
    finally:
        standby.execute("SELECT pg_wal_replay_resume()::text")


def test_people_read_their_own_changes(app: Flask, cast: Cast, standby: Standby) -> None:
    """Within the allowed lag, the overview once showed "Active, renews" after a cancellation."""
    ada = Visitor(app)
    ada.sign_in(Cast.ADA)
    standby.catch_up()
    standby.execute("SELECT pg_wal_replay_pause()::text")
    try:
        ada.get(f"/subscriptions/{cast.ada_at_acorn.subscription_id}/cancellation")
        ada.submit("cancellation")
        for path in ("/", "/subscriptions", f"/subscriptions/{cast.ada_at_acorn.subscription_id}"):
            assert "Ending" in ada.get(path).text, path
    finally:
        standby.execute("SELECT pg_wal_replay_resume()::text")
