"""What is over for good goes; what still opens, counts or says something stays."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from auth import sweeping
from auth.models import BrowserSession, Budget, Challenge, Grant
from auth.passkeys import PasskeyCeremony
from auth.providers.models import LogoutTokenSeen, ProviderState
from core import clock
from core.db import Database
from core.outbox import Outbox
from core.scope import everything
from core.settings import Settings

TABLES = (Challenge, BrowserSession, Grant, ProviderState, PasskeyCeremony, LogoutTokenSeen, Budget, Outbox)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings)
    yield database
    database.dispose()


def rows(n: int, days: int) -> list[Any]:
    """One of each that ended `days` ago."""
    at, one = clock.wall() - timedelta(days=days), f"x{n}"
    mine: dict[str, Any] = {"browser_hash": one, "expires_at": at}
    return [
        Challenge(id=one, address_key=one, email=one, door="unified", link_hash=one, code_hash=one, device="", locale="en", next="",
                  created_at=at, **mine),
        BrowserSession(id=one, secret_hash=one, device="", created_at=at, last_seen_at=at, expires_at=at),
        ProviderState(id=one, state_hash=one, party="op/x", purpose="sign_in", next="", **mine),
        PasskeyCeremony(id=one, challenge=b"", **mine), LogoutTokenSeen(id=one, seen_at=at), Budget(key=one, window_start=at, count=1),
        Outbox(id=one, type="x", actor_type="system", data={}, at=at, state="done", due_at=at, done=[]),
        Outbox(id=f"{one}p", type="x", actor_type="system", data={}, at=at, state="parked", due_at=at, done=[]),
    ]


def count(database: Database) -> dict[str, int]:
    with database.open(everything("a test counts")) as db:
        return {one.__tablename__: db.scalar(select(func.count()).select_from(one)) or 0 for one in TABLES}


def test_what_is_over_goes_and_the_rest_stays(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "BATCH", 2)
    with database.open(everything("a test writes"), write=True) as db:
        for n, days in enumerate((31, 40, 50, 0, -1)):
            db.add_all(rows(n, days))
            db.flush()
            db.add(Grant(id=f"g{n}", session_id=f"x{n}", door="unified", proof="email", proved_at=clock.wall(), expires_at=clock.wall()))
    before = count(database)
    assert sweeping.sweep(database) == 3 * 7
    parked = {"outbox": before["outbox"] - 3}
    assert count(database) == {name: 2 for name in before} | parked, "what waits for a person is not forgotten"
    assert sweeping.sweep(database) == 0
