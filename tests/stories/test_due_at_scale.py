"""Due rows are read by index and business. A hundred thousand rows of one business do not slow a run."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from datetime import timedelta
from typing import Any

import psycopg
from sqlalchemy import event, insert, inspect, select

from billing.model.parties import Business
from billing.model.subscriptions import Subscription
from billing.renewals.due_subscriptions import due_rows
from core import clock
from core.scope import everything
from core.settings import Settings
from tests.cast import Cast

MANY = 3_000
PLANS = {"sqlite": "EXPLAIN QUERY PLAN ", "postgresql": "EXPLAIN "}


def overdue(cast: Cast, count: int, **more: Any) -> None:
    """Insert copies of Ada's subscription at Acorn that are long overdue."""
    with cast.services.database.open(everything("many rows are due"), write=True) as db:
        row = db.scalars(select(Subscription).where(Subscription.id == cast.ada_at_acorn.subscription_id)).one()
        columns = {attribute.key: getattr(row, attribute.key) for attribute in inspect(Subscription).column_attrs}
        since = clock.now() - timedelta(days=90)
        old = {**columns, "previous_billing_at": since - timedelta(days=30), **more}
        db.execute(
            insert(Subscription), [{**old, "id": f"sub_many{n:06d}", "next_billing_at": since + timedelta(seconds=n)} for n in range(count)]
        )


def statements_of(cast: Cast, limit: int = 50) -> tuple[list[tuple[str, str]], list[tuple[str, Any]]]:
    """Return the due rows, and the statements that read subscriptions to find them."""
    found: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        if "FROM subscriptions" in statement or "JOIN subscriptions" in statement:
            found.append((statement, parameters))

    engine = cast.services.database.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        with cast.services.database.open(everything("what is due")) as db:
            return due_rows(db, limit), found
    finally:
        event.remove(engine, "before_cursor_execute", note)


def plan(cast: Cast, statement: str, parameters: Any) -> str:
    engine = cast.services.database.engine
    with closing(engine.raw_connection()) as c, closing(c.cursor()) as cursor:
        if engine.dialect.name == "postgresql":
            cursor.execute("SELECT set_config('portal.kind', 'everything', true)")
        cursor.execute(PLANS[engine.dialect.name] + statement, parameters)
        return "\n".join(str(row[-1]) for row in cursor.fetchall())


def analyze(settings: Settings) -> None:
    """Update statistics, as autovacuum does on PostgreSQL and `PRAGMA optimize` on SQLite."""
    if settings.database_owner_url:
        with psycopg.connect(settings.database_owner_url.replace("+psycopg", "", 1), autocommit=True) as c:
            c.execute("ANALYZE")
    else:
        with closing(sqlite3.connect(settings.database_url.removeprefix("sqlite:///"))) as c:
            c.execute("ANALYZE")


def test_a_fixed_number_of_statements_finds_what_is_due_and_businesses_take_turns(cast: Cast) -> None:
    clock.turn(timedelta(days=40))
    few, before = statements_of(cast)
    assert len(few) == 3 and len(before) == 3, "one finds the owners of renewals and one the rows; one finds that nothing ends"
    overdue(cast, MANY)
    rows, after = statements_of(cast)
    assert len(after) == len(before) and len(rows) == 50
    assert [owner for owner, _ in rows[:4]] == [cast.acorn, cast.birch, cast.acorn, cast.birch]
    assert Counter(owner for owner, _ in rows)[cast.birch] == 2, "all that Birch has"


def test_due_rows_are_read_from_the_index_of_their_business(cast: Cast) -> None:
    """Only an index of (business, date) on due rows is read, no table and no other index."""
    clock.turn(timedelta(days=40))
    overdue(cast, MANY)
    analyze(cast.services.settings)
    _rows, statements = statements_of(cast)
    plans = [plan(cast, *statement) for statement in statements]
    assert all("ix_subscriptions_renewing" in item or "ix_subscriptions_ending" in item for item in plans), "\n\n".join(plans)
    assert not [item for item in plans if "ix_subscriptions_due" in item]
    assert not [item for item in plans if "SCAN subscriptions" in item or "Seq Scan on subscriptions" in item]


def test_a_closed_business_renews_nothing_and_what_was_cancelled_ends(cast: Cast) -> None:

    clock.turn(timedelta(days=40))
    overdue(cast, 5, cancel_at_period_end=True)
    with cast.services.database.open(everything("Acorn closes"), write=True) as db:
        db.scalars(select(Business).where(Business.business_id == cast.acorn)).one().archived_at = clock.now()
    rows, _ = statements_of(cast)
    assert {item for owner, item in rows if owner == cast.acorn} == {f"sub_many{n:06d}" for n in range(5)}
