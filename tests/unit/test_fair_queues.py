"""Businesses take turns: many or failing rows of one business do not delay others."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import insert, select, update

from auth.oidc_server.models import App, AppSession
from core import clock, guard, recurring_jobs
from core.db import Database
from core.handlers import Handlers
from core.lanes import Lanes, Turn
from core.leases import release, take
from core.outbox import Outbox, emit
from core.outbox_claims import BATCH, Work
from core.revisions import MIGRATIONS
from core.scope import everything, staff
from core.worker import Tick, Worker
from tenants import api_keys
from tests.cast import Cast

MANY = 100_000


def flood(database: Database, business_id: str, count: int = MANY) -> None:
    """Insert `count` pending rows of one business, older than all others."""
    at = clock.wall() - timedelta(hours=1)
    row = {
        "type": "acorn.fell",
        "lane": business_id,
        "business_id": business_id,
        "actor_type": "system",
        "data": {},
        "at": at,
        "due_at": at,
        "state": "pending",
        "attempts": 0,
        "fence": 0,
        "done": [],
    }
    with database.open(everything("a business with very much work"), write=True) as db:
        for start in range(0, count, 10_000):
            db.execute(insert(Outbox), [{**row, "id": f"evt_{n:08d}"} for n in range(start, min(start + 10_000, count))])


def test_the_outbox_takes_turns_between_businesses(database: Database) -> None:
    flood(database, "bus_acorn")
    with database.open(everything("others have one each"), write=True) as db:
        birch = emit(db, "payment.succeeded", business_id=None, data={})
        ask = emit(db, "auth.challenge_requested", data={})
    seen: list[str] = []
    handlers = Handlers()
    handlers.on("*", lambda work: seen.append(work.id), "seen")
    worker = Worker(database, handlers)
    claims: list[float] = []
    for _ in range(3):
        began = time.monotonic()
        batch = worker.claim()
        claims.append(time.monotonic() - began)
        for work, fence, done in batch:
            worker.perform(work, fence, done)
    assert {birch, ask} <= set(seen[: BATCH + 2]), "both are in the first batch, behind a hundred thousand older rows"
    assert len(seen) > BATCH, "the business with much work is served as well"
    assert min(claims) < 2.0, "claiming does not read what waits"
    assert [work.id for work, _, _ in worker.claim(only="auth")] == []


def test_every_lane_is_served(database: Database) -> None:
    with database.open(everything("many lanes"), write=True) as db:
        for n in range(BATCH * 3):
            for _ in range(3):
                emit(db, f"lane{n:03d}.fell")
    worker = Worker(database, Handlers())
    lanes: list[list[str]] = [[work.type for work, _, _ in worker.claim()] for _ in range(3)]
    assert len({type for batch in lanes for type in batch}) == BATCH * 3, "three claims reach sixty lanes"


def test_failing_rows_back_off_until_done(cast: Cast) -> None:
    database = cast.services.database

    def due() -> list[recurring_jobs.Row]:
        rows = [(cast.acorn, "sub_1"), (cast.birch, "sub_2")]
        with database.open(everything("what may be tried")) as db:
            resting = set(db.scalars(select(recurring_jobs.JobFailure.row_id).where(recurring_jobs.JobFailure.retry_at > clock.wall())))
        return [row for row in rows if row[1] not in resting]

    done: list[str] = []

    def act(business_id: str, item: str) -> None:
        if item == "sub_1" and broken:
            raise RuntimeError("not now")
        done.append(item)

    broken = True
    assert recurring_jobs.run(database, "a test", due(), act) == 2 and done == ["sub_2"]
    assert due() == [(cast.birch, "sub_2")], "what failed rests"
    waits = []
    for _ in range(3):
        with database.open(everything("time passes"), write=True) as db:
            row = db.scalars(select(recurring_jobs.JobFailure)).one()
            waits.append((row.retry_at - row.failed_at).total_seconds())
            row.retry_at = clock.wall() - timedelta(seconds=1)
        recurring_jobs.run(database, "a test", due(), act)
    assert waits == [30, 120, 600]
    broken = False
    recurring_jobs.run(database, "a test", [(cast.acorn, "sub_1")], act)
    with database.open(everything("nothing is left")) as db:
        assert db.scalars(select(recurring_jobs.JobFailure)).all() == []
    broken = True
    recurring_jobs.run(database, "a test", [(cast.acorn, "sub_1")], act)
    assert recurring_jobs.sweep(database) == 0
    with database.open(everything("it is due nowhere any more"), write=True) as db:
        db.scalars(select(recurring_jobs.JobFailure)).one().retry_at -= timedelta(days=3)
    assert recurring_jobs.sweep(database) == 1


def test_a_hanging_lane_does_not_block_others(database: Database) -> None:
    served: list[str] = []
    due = {"hangs": 3, "acorn": 2, "birch": 2, "cedar": 2}

    def serve(key: str, turn: Turn) -> bool:
        if key == "hangs":
            time.sleep(0.6)
            return False
        while due[key] and not turn.over:
            due[key] -= 1
            served.append(key)
        return True

    lanes = Lanes("a test", database, lambda: [key for key, left in due.items() if left], serve, slots=2)
    lanes.start()
    until = time.monotonic() + 5
    while len(served) < 6 and time.monotonic() < until:
        time.sleep(0.02)
    lanes.stop(wait=5.0)
    assert sorted(served) == ["acorn"] * 2 + ["birch"] * 2 + ["cedar"] * 2
    assert lanes._failed.get("hangs") or due["hangs"] == 3


def test_one_lane_per_key_in_the_whole_deployment(database: Database) -> None:
    first, second = (Lanes("a test", database, lambda: ["acorn"], lambda key, turn: True) for _ in range(2))
    assert first.claim() == ["acorn"] and second.claim() == []
    first._take_turn("acorn")
    assert second.claim() == ["acorn"]
    assert not take(database, "a test: acorn", "somebody", timedelta(seconds=5))
    release(database, "a test: acorn", second.holder)
    assert take(database, "a test: acorn", "somebody", timedelta(seconds=5))


def test_the_migration_keeps_work_and_keys(cast: Cast) -> None:
    """Revision 0018 on existing rows."""
    database, ada, at = cast.services.database, cast.ada_at_acorn, clock.wall()
    with database.open(staff(cast.acorn, "mem_olga"), write=True) as db:
        api_keys.new_key(db, cast.acorn, "of Olga", settings=cast.services.settings)
    with database.open(everything("rows of before"), write=True) as db:
        api_keys.new_key(db, cast.acorn, "of an operator", settings=cast.services.settings)
        db.add(App(business_id=cast.acorn, id="app_1", name="Notes", redirect_uris=[], post_logout_uris=[], created_at=at))
        db.flush()
        for item in ("waits", "told"):
            db.add(
                AppSession(
                    business_id=cast.acorn,
                    customer_id=ada.customer_id,
                    id=item,
                    app_id="app_1",
                    grant_id="gone",
                    subject="s",
                    scope="",
                    is_offline=False,
                    auth_time=at,
                    redirect_uri="x",
                    challenge="x",
                    code_hash="x",
                    code_expires_at=at,
                    created_at=at,
                    expires_at=at,
                    left_at=at,
                )
            )
        emit(db, "auth.challenge_requested")
        emit(db, "app.session_left", business_id=cast.acorn, customer_id=ada.customer_id, noun="waits")
    with database.open(everything("as it was before"), write=True) as db:
        db.execute(update(api_keys.ApiKey).values(created_by=None), execution_options={"synchronize_session": False})
        db.execute(update(Outbox).values(lane="system"), execution_options={"synchronize_session": False})
    with database.engine.begin() as connection, guard.raw_sql(), Operations.context(MigrationContext.configure(connection)):
        if not database.is_sqlite:
            connection.exec_driver_sql("SELECT set_config('portal.kind', 'everything', true)")
        ScriptDirectory(MIGRATIONS).get_revision("0018").module._fill()
    with database.open(everything("as it is now")) as db:
        assert set(db.execute(select(api_keys.ApiKey.name, api_keys.ApiKey.created_by))) == {
            ("of Olga", "mem_olga"),
            ("of an operator", None),
        }
        assert {app_session.id: app_session.logout_due_at is not None for app_session in db.scalars(select(AppSession))} == {
            "waits": True,
            "told": False,
        }
        lanes = {outbox.type: outbox.lane for outbox in db.scalars(select(Outbox).where(Outbox.state == "pending"))}
    assert lanes["auth.challenge_requested"] == "auth" and lanes["app.session_left"] == cast.acorn


@pytest.mark.parametrize("slow", ["a tick", "a handler"])
def test_sign_in_emails_do_not_wait_for_other_work(database: Database, slow: str) -> None:
    """A long recurring job and long work run meanwhile."""
    import threading

    sent, stop, release_it = threading.Event(), threading.Event(), threading.Event()

    def wait(*_: object) -> None:
        release_it.wait(20)

    handlers = Handlers()
    handlers.on("auth.*", lambda work: sent.set(), "sign-in")
    work: Callable[[Work], None] = wait
    handlers.on("acorn.*", work, "slow")
    ticks = [Tick("slow", timedelta(seconds=1), wait)] if slow == "a tick" else []
    worker: Any = Worker(database, handlers, ticks)
    with database.open(everything("slow work"), write=True) as db:
        for _ in range(BATCH):
            emit(db, "acorn.fell")
    thread = threading.Thread(target=worker.run_forever, args=(stop,), daemon=True)
    thread.start()
    time.sleep(0.5)
    with database.open(everything("somebody signs in"), write=True) as db:
        emit(db, "auth.challenge_requested")
    worker.wake()
    arrived = sent.wait(5.0)
    stop.set()
    release_it.set()
    worker.wake()
    thread.join(10)
    assert arrived
