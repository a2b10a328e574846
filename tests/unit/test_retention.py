"""Expired rows are removed. Rows that still give access, count or are shown stay."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from auth import retention
from auth.models import BrowserSession, Challenge, Grant, RateLimitCount
from auth.oidc_client.models import LogoutTokenSeen, ProviderState
from auth.passkey_ceremonies import PasskeyCeremony
from core import clock
from core.db import Database
from core.outbox import Outbox
from core.scope import everything
from core.settings import Settings

TABLES = (Challenge, BrowserSession, Grant, ProviderState, PasskeyCeremony, LogoutTokenSeen, RateLimitCount, Outbox)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings)
    yield database
    database.dispose()


def rows(n: int, days: int) -> list[Any]:
    """Insert one row of each kind that ended `days` ago."""
    at, item = clock.wall() - timedelta(days=days), f"x{n}"
    mine: dict[str, Any] = {"browser_hash": item, "expires_at": at}
    return [
        Challenge(
            id=item,
            address_key=item,
            email=item,
            door="unified",
            link_hash=item,
            code_hash=item,
            device="",
            locale="en",
            next="",
            created_at=at,
            **mine,
        ),
        BrowserSession(id=item, secret_hash=item, device="", created_at=at, last_seen_at=at, expires_at=at),
        ProviderState(id=item, state_hash=item, party="op/x", purpose="sign_in", next="", **mine),
        PasskeyCeremony(id=item, challenge=b"", **mine),
        LogoutTokenSeen(id=item, seen_at=at),
        RateLimitCount(key=item, window_start=at, count=1),
        Outbox(id=item, type="x", actor_type="system", data={}, at=at, state="done", due_at=at, done=[]),
        Outbox(id=f"{item}p", type="x", actor_type="system", data={}, at=at, state="given_up", due_at=at, done=[]),
    ]


def count(database: Database) -> dict[str, int]:
    with database.open(everything("a test counts")) as db:
        return {item.__tablename__: db.scalar(select(func.count()).select_from(item)) or 0 for item in TABLES}


def test_expired_rows_are_removed_and_others_stay(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    with database.open(everything("a test writes"), write=True) as db:
        for n, days in enumerate((31, 40, 50, 0, -1)):
            db.add_all(rows(n, days))
            db.flush()
            db.add(
                Grant(
                    id=f"g{n}", session_id=f"x{n}", door="unified", sign_in_method="email", proved_at=clock.wall(), expires_at=clock.wall()
                )
            )
    before = count(database)
    assert retention.sweep(database) == 3 * 7
    given_up = {"outbox": before["outbox"] - 3}
    assert count(database) == {name: 2 for name in before} | given_up, "what waits for a person is not forgotten"
    assert retention.sweep(database) == 0
