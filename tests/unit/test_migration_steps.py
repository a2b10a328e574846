"""Steps of a migration: short transactions that block nobody, are resumed after an interruption, and complete."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, text, update
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import IntegrityError

from core import guard, migration_runner, migration_steps, schema
from core.db import Database
from core.migration_steps import FillStep, IndexStep, MigrationStep, NotNullStep, RowBatch
from core.scope import everything
from core.settings import Misconfigured, Settings

ROWS = 25
KEY = ("business_id", "id")


@pytest.fixture
def owner(settings: Settings) -> Iterator[Engine]:
    """A connection of the owner, and a table with ROWS rows."""
    engine = create_engine(settings.owner_url)
    with guard.raw_sql():
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "CREATE TABLE acorns (business_id VARCHAR NOT NULL, id VARCHAR NOT NULL, size BIGINT, weight BIGINT,"
                " PRIMARY KEY (business_id, id))"
            )
            for n in range(ROWS):
                connection.execute(
                    text("INSERT INTO acorns (business_id, id, size) VALUES (:b, :i, :n)"),
                    {"b": f"bus_{n % 3}", "i": f"acorn_{n:02d}", "n": n},
                )
        yield engine
    engine.dispose()


def weigh(connection: Connection, batch: RowBatch) -> int:
    return connection.execute(text(f"UPDATE acorns SET weight = size * 2 WHERE {batch.where} AND size >= 0"), batch.params).rowcount


def weights(owner: Engine) -> list[Any]:
    with owner.connect() as connection:
        return list(connection.exec_driver_sql("SELECT weight FROM acorns ORDER BY size").scalars())


def state(owner: Engine, id: str) -> tuple[int, bool]:
    with owner.connect() as connection:
        migration_steps.see_everything(connection)
        row = connection.execute(text("SELECT rows, done_at FROM migration_steps WHERE id = :id"), {"id": id}).one()
        return row[0], row[1] is not None


def test_a_table_is_filled_batch_by_batch(owner: Engine) -> None:
    said: list[str] = []
    sizes: list[int] = []

    def change(connection: Connection, batch: RowBatch) -> int:
        sizes.append(weigh(connection, batch))
        return sizes[-1]

    FillStep("weight", "acorns", KEY, change, report="{rows} acorns were weighed.", size=10).run(owner, "0099/weight", said.append)
    assert sizes == [10, 10, 5] and weights(owner) == [n * 2 for n in range(ROWS)]
    assert said == ["25 acorns were weighed."] and state(owner, "0099/weight") == (ROWS, True)


def test_an_interrupted_fill_is_resumed(owner: Engine) -> None:
    seen: list[int] = []

    def is_killed(connection: Connection, batch: RowBatch) -> int:
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(weigh(connection, batch))
        return seen[-1]

    with pytest.raises(KeyboardInterrupt):
        FillStep("weight", "acorns", KEY, is_killed, size=10).run(owner, "0099/weight", print)
    assert state(owner, "0099/weight") == (20, False) and sum(weight is not None for weight in weights(owner)) == 20
    again: list[int] = []

    def goes_on(connection: Connection, batch: RowBatch) -> int:
        again.append(weigh(connection, batch))
        return again[-1]

    FillStep("weight", "acorns", KEY, goes_on, size=10).run(owner, "0099/weight", print)
    assert again == [5], "the first two batches are not done again"
    assert state(owner, "0099/weight") == (ROWS, True) and None not in weights(owner)


def test_a_column_is_made_not_null(owner: Engine) -> None:
    step = NotNullStep("weight is set", "acorns", "weight")
    with pytest.raises(IntegrityError):
        step.run(owner, "0099/set", print)
    FillStep("weight", "acorns", KEY, weigh).run(owner, "0099/weight", print)
    step.run(owner, "0099/set", print)  # remains of the first try do not matter
    columns = {item["name"]: item["nullable"] for item in inspect(owner).get_columns("acorns")}
    assert columns["weight"] is False and inspect(owner).get_check_constraints("acorns") == [] and state(owner, "0099/set")[1]


def test_an_index_is_created_once(owner: Engine) -> None:
    step = IndexStep("ix_acorns_size", "acorns", ("business_id", "size"), where="size > 3")
    step.run(owner, "0099/index", print)
    step.run(owner, "0099/index", print)
    assert [get_indexe["name"] for get_indexe in inspect(owner).get_indexes("acorns")] == ["ix_acorns_size"]


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_an_invalid_index_is_created_again(owner: Engine) -> None:
    with owner.begin() as connection:
        connection.exec_driver_sql("UPDATE acorns SET size = 1 WHERE size < 2")
    step = IndexStep("ux_acorns_size", "acorns", ("size",), unique=True)
    with pytest.raises(IntegrityError):
        step.run(owner, "0099/index", print)  # PostgreSQL leaves it there, invalid
    with owner.begin() as connection:
        connection.exec_driver_sql("UPDATE acorns SET size = 100 WHERE id = 'acorn_00'")
    step.run(owner, "0099/index", print)
    with owner.connect() as connection:
        assert connection.exec_driver_sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'ux_acorns_size'::regclass").scalar() is True


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_a_batch_waits_for_locks_without_blocking_others(owner: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that cannot lock a row ends its transaction and retries until the row is free."""
    monkeypatch.setattr(migration_steps, "LOCK_TIMEOUT", "50ms")
    monkeypatch.setattr(migration_steps, "TRIES", 10_000)
    tried, step = threading.Event(), FillStep("weight", "acorns", KEY, weigh, size=10)
    real = migration_steps.time.sleep

    def sleep(seconds: float) -> None:
        tried.set()
        real(min(seconds, 0.05))

    monkeypatch.setattr(migration_steps.time, "sleep", sleep)
    with owner.begin() as writer:
        writer.exec_driver_sql("UPDATE acorns SET size = size WHERE id = 'acorn_12'")
        thread = threading.Thread(target=step.run, args=(owner, "0099/weight", print))
        thread.start()
        assert tried.wait(60), "it gives up for now"
    thread.join(60)
    assert not thread.is_alive() and None not in weights(owner)


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_a_not_null_check_does_not_block_writers(owner: Engine) -> None:
    """VALIDATE CONSTRAINT takes SHARE UPDATE EXCLUSIVE, which does not conflict with writers."""
    FillStep("weight", "acorns", KEY, weigh).run(owner, "0099/weight", print)
    with owner.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE acorns ADD CONSTRAINT c CHECK (weight IS NOT NULL) NOT VALID")
    with owner.begin() as writer:
        writer.exec_driver_sql("UPDATE acorns SET size = size WHERE id = 'acorn_12'")
        with owner.begin() as connection:
            connection.exec_driver_sql("SET LOCAL lock_timeout = '100ms'")
            connection.exec_driver_sql("ALTER TABLE acorns VALIDATE CONSTRAINT c")


def test_a_version_does_not_serve_before_all_steps_ran(settings: Settings, database: Database) -> None:
    schema.check(database)
    with database.open(everything("an upgrade was killed"), write=True) as db:
        db.execute(update(MigrationStep).values(done_at=None), execution_options={"synchronize_session": False})
    with pytest.raises(Misconfigured, match="interrupted: run `flask --app wsgi upgrade` again"):
        schema.check(database)
    schema.upgrade(settings)
    schema.check(database)


def test_ids_of_steps_are_unique() -> None:
    ids = [id for script in migration_runner.ordered() for id, _ in migration_runner.step_ids(script)]
    assert len(ids) == len(set(ids)) and ids
