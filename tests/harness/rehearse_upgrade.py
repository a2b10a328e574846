"""Rehearse an upgrade on many rows while a reader and a writer are busy, and report the longest wait.

    python -m tests.harness.rehearse_upgrade --rows 1000000 [--since 0023]

It starts a PostgreSQL server, migrates it to the revision `--since`, fills the tables that grow with customers, and upgrades to the
newest schema. Meanwhile one connection reads and one writes as fast as they can, and a third looks for locks that are waited for.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from sqlalchemy import create_engine, inspect

from core import guard, migration_runner, revisions, schema
from core.settings import Settings
from tests.engines import Postgres

BUSINESSES = 100
TABLES = {"customers": "customer_id", "subscriptions": "id", "payments": "id", "events": "id"}
"""Table → the second column of its key. Each gets `--rows` rows."""
VALUES = {"BIGINT": "1", "INTEGER": "1", "BOOLEAN": "false", "JSONB": "'{}'", "TIMESTAMP": "now()", "VARCHAR": "'x'", "TEXT": "'x'"}
OURS = {
    "collected_by": "'us'",
    "status": "'active'",
    "type": "CASE WHEN n % 1000 = 0 THEN 'subscription.loaded' ELSE 'x' END",
    "noun_id": "'row_' || n",
    "customer_id": "'row_' || n",
    "id": "'row_' || n",
    "business_id": f"'bus_' || (n % {BUSINESSES})",
    "is_open": "false",
    "key": "'key_' || n",
}


@dataclass
class Busy:
    """A connection that repeats one statement. Counts the runs, and the seconds of the slowest."""

    name: str
    act: Any
    slowest: float = 0.0
    count: int = 0
    errors: list[str] = field(default_factory=list)

    def run(self, url: str, stop: threading.Event) -> None:
        with psycopg.connect(url) as connection:
            while not stop.is_set():
                began = time.monotonic()
                try:
                    with connection.transaction():
                        connection.execute("SELECT set_config('portal.kind', 'everything', true)")
                        self.act(connection, self.count)
                except psycopg.Error as problem:
                    self.errors.append(f"{type(problem).__name__}: {problem}")
                self.slowest, self.count = max(self.slowest, time.monotonic() - began), self.count + 1


def read(connection: psycopg.Connection, n: int) -> None:
    connection.execute(
        "SELECT id, status, next_billing_at FROM subscriptions WHERE business_id = %s ORDER BY created_at DESC, id DESC LIMIT 25",
        (f"bus_{n % BUSINESSES}",),
    ).fetchall()
    connection.execute("SELECT id, job FROM job_failures WHERE business_id = %s LIMIT 25", (f"bus_{n % BUSINESSES}",)).fetchall()


def write(connection: psycopg.Connection, n: int) -> None:
    item = n * 7919 % 100_000
    connection.execute(
        "UPDATE subscriptions SET quantity = quantity + 1 WHERE business_id = %s AND id = %s", (f"bus_{item % BUSINESSES}", f"row_{item}")
    )
    connection.execute(
        "UPDATE job_failures SET failures = failures + 1 WHERE business_id = %s AND id = %s", (f"bus_{item % BUSINESSES}", f"row_{item}")
    )


def longest_wait(url: str, stop: threading.Event, found: list[float]) -> None:
    """Return the longest wait for a lock in seconds, from pg_locks."""
    with psycopg.connect(url, autocommit=True) as connection:
        while not stop.wait(0.01):
            row = connection.execute(
                "SELECT max(extract(epoch FROM clock_timestamp() - waitstart)) FROM pg_locks WHERE NOT granted"
            ).fetchone()
            found.append(float(row[0] or 0.0) if row else 0.0)


def fill(engine: Any, rows: int) -> None:
    with engine.begin() as connection:
        run = connection.exec_driver_sql
        run("SET LOCAL session_replication_role = replica")  # no foreign keys: these rows refer to nobody
        run("SELECT set_config('portal.kind', 'everything', true)")
        for table in (*TABLES, "job_failures"):
            columns = [item for item in inspect(connection).get_columns(table) if not item["nullable"] or item["name"] in OURS]
            names = [column["name"] for column in columns]
            values = [OURS.get(column["name"]) or VALUES[str(column["type"]).split("(")[0].split(" ")[0]] for column in columns]
            run(f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(values)} FROM generate_series(1, {rows}) n".replace("%", "%%"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")


def rehearse(server: Postgres, rows: int, since: str) -> dict[str, Any]:
    """Return the figures: seconds, and errors."""
    urls = server.empty()
    settings = Settings(data_dir=server.folder, **urls)
    owner = create_engine(settings.owner_url)
    with owner.begin() as connection, guard.raw_sql():
        config = revisions.config()
        config.attributes["connection"] = connection
        command.upgrade(config, since)
        schema.grant(connection, settings)
        connection.exec_driver_sql("SELECT set_config('portal.kind', 'everything', true)")
        connection.exec_driver_sql("INSERT INTO deployment (id, mode, created_at) VALUES ('this', 'test', now())")
    fill(owner, rows)
    app, own = (url.replace("+psycopg", "", 1) for url in (settings.database_url, settings.owner_url))
    stop, waits, said = threading.Event(), [0.0], []
    busy = [Busy("reader", read), Busy("writer", write)]
    threads = [threading.Thread(target=item.run, args=(app, stop)) for item in busy]
    threads.append(threading.Thread(target=longest_wait, args=(own, stop, waits)))
    for thread in threads:
        thread.start()
    time.sleep(min(2.0, rows / 100_000))
    before = {item.name: item.slowest for item in busy}
    for item in busy:
        item.slowest = 0.0
    began = time.monotonic()
    try:
        schema.upgrade(settings, said.append)
    finally:
        total = time.monotonic() - began
        stop.set()
        for thread in threads:
            thread.join()
    with owner.connect() as connection, guard.raw_sql():
        connection.exec_driver_sql("SELECT set_config('portal.kind', 'everything', false)")
        steps = dict(connection.exec_driver_sql("SELECT id, rows FROM migration_steps").all())
        undecided = connection.exec_driver_sql("SELECT count(*) FROM subscriptions WHERE collected_by = 'undecided'").scalar_one()
    owner.dispose()
    return {
        "rows of each table": rows,
        "upgrade": total,
        "longest wait for a lock": max(waits),
        **{f"slowest {item.name} before": before[item.name] for item in busy},
        **{f"slowest {item.name} meanwhile": item.slowest for item in busy},
        **{f"{item.name} ran": item.count for item in busy},
        "errors": [error for item in busy for error in item.errors][:3],
        "steps": steps,
        "undecided": undecided,
        "said": said,
        "steps left": sorted(migration_runner.expected() - set(steps)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--since", default="0023")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Postgres(Path(folder))
        try:
            for name, value in rehearse(server, arguments.rows, arguments.since).items():
                print(f"{name}: {value:.3f} s" if isinstance(value, float) else f"{name}: {value}")
        finally:
            server.close()


if __name__ == "__main__":
    main()
