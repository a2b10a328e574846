"""Upgrade a database to the newest schema, and check its mode: test and live databases are kept apart.

The owner's role migrates (`DATABASE_OWNER_URL`). The application's role can change rows, but not tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from alembic import command
from sqlalchemy import create_engine, inspect, select
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Mapped, mapped_column

from core import clock, guard, migration_runner, migration_steps, revisions
from core.db import Database
from core.models import Base
from core.private_files import private_database
from core.scope import everything
from core.settings import Misconfigured, Settings

LOCK_TIMEOUT = "5s"  # PostgreSQL; statements queue behind a migration that waits for a lock


class Deployment(Base):
    """One row with the mode of this database, which never changes."""

    __tablename__ = "deployment"

    id: Mapped[str] = mapped_column(primary_key=True)
    mode: Mapped[str]
    created_at: Mapped[datetime]


def upgrade(settings: Settings, say: migration_steps.Say = lambda sentence: None) -> None:
    """Create or migrate the tables, grant the application's role its rights, and store the mode. Idempotent.

    Raises Misconfigured, before any change, for a database of the other mode or a newer version, or if a table is locked for
    longer than LOCK_TIMEOUT. Revisions up to the next one with steps run in one transaction; steps (core/migration_steps.py)
    run in many short ones.
    """
    url = make_url(settings.owner_url)
    if url.get_backend_name() == "sqlite" and url.database:
        private_database(Path(url.database))
    # no prepared statements: each statement runs once, and a pooler's connection would keep their names for its next client
    engine = create_engine(url, connect_args={"prepare_threshold": None} if url.get_backend_name() == "postgresql" else {})
    try:
        with reachable(engine):
            pass
        with engine.begin() as connection, guard.raw_sql():
            _refuse(connection, settings)
            found = revisions.of(connection)
        migration_runner.run(engine, found, say)  # steps of an interrupted upgrade
        for target in migration_runner.targets(found):
            with engine.begin() as connection, guard.raw_sql():
                connection.exec_driver_sql(
                    f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'" if connection.dialect.name == "postgresql" else "BEGIN IMMEDIATE"
                )  # SQLite's driver does not begin a transaction before DDL
                config = revisions.config()
                config.attributes["connection"] = connection
                command.upgrade(config, target)
                grant(connection, settings)
            migration_runner.run(engine, frozenset({target}), say)
        with engine.begin() as connection, guard.raw_sql():
            grant(connection, settings)
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        raise Misconfigured(
            "Another program holds a lock on a table, so nothing was changed. Stop the processes of the portal and "
            "long-running queries (see pg_stat_activity), then run upgrade again."
        ) from error
    finally:
        engine.dispose()
    database = Database(settings)
    try:
        with database.open(everything("stamp the deployment"), write=True) as db:
            if db.scalar(select(Deployment)) is None:
                db.add(Deployment(id="this", mode=settings.mode, created_at=clock.wall()))
    finally:
        database.dispose()


_LOCK_NOT_AVAILABLE = "55P03"  # SQLSTATE


def _refuse(connection: Connection, settings: Settings) -> None:
    """Raise Misconfigured for a database of the other mode or of a newer version."""
    found = revisions.of(connection)
    if not found <= revisions.known():
        raise Misconfigured(revisions.problem(found))
    if found and inspect(connection).has_table("deployment"):
        if connection.dialect.name == "postgresql":  # row-level security also applies to the owner
            connection.exec_driver_sql("SELECT set_config('portal.kind', 'everything', true)")
        mode = connection.exec_driver_sql("SELECT mode FROM deployment").scalar()
        if mode not in (None, settings.mode):
            raise Misconfigured(_WRONG_MODE.format(mode, settings.mode))


_WRONG_MODE = "This database belongs to a {} deployment; PORTAL_MODE is {}. Test and live data are kept apart: use another DATABASE_URL."


def way_back() -> str:
    """Return the steps to go back to an earlier version."""
    return (
        "There is no downgrade: an older schema cannot hold newer data, and deleting it would lose data. To go back: "
        "1. stop every process of the portal; 2. make a backup of this database; "
        "3. point DATABASE_URL and DATABASE_OWNER_URL at a new, empty database; "
        "4. with the old version, run `restore` with the backup that was made before the upgrade; 5. start the old version. "
        "Changes since that backup are missing then. Charges since then are found again at the payment provider by "
        f"their keys. This version's schema is {', '.join(sorted(revisions.newest()))}."
    )


@contextmanager
def reachable(engine: Engine) -> Iterator[Connection]:
    """Yield a connection. Raises Misconfigured if the database does not answer or refuses the login."""
    try:
        connection = engine.connect()
    except OperationalError as away:
        reason = " ".join(str(away.orig).split())[:300].rstrip(".?") or type(away.orig).__name__
        raise Misconfigured(f"The database does not answer ({reason}). Check DATABASE_URL and DATABASE_OWNER_URL.") from away
    with connection:
        yield connection


def check(database: Database) -> None:
    """Raise Misconfigured for a database of the other mode or another schema, or a pooler that does not work."""
    for pooler in database.poolers:
        if problem := pooler.problem():
            raise Misconfigured(problem)
    with guard.raw_sql(), reachable(database.engine) as connection:
        problem = revisions.problem(revisions.of(connection))
    if problem:
        raise Misconfigured(problem)
    with database.open(everything("read the deployment's stamp")) as db:
        mode = db.scalar(select(Deployment.mode))
        done = set(db.scalars(select(migration_steps.MigrationStep.id).where(migration_steps.MigrationStep.done_at.is_not(None))))
    if not migration_runner.expected() <= done:
        raise Misconfigured(f"An upgrade of this database was interrupted: {revisions.UPGRADE} again; it continues where it stopped.")
    if mode != database.settings.mode:
        raise Misconfigured(_WRONG_MODE.format(mode, database.settings.mode))


def grant(connection: Connection, settings: Settings) -> None:
    """Grant the application's role the rows of every table (PostgreSQL), but no change of events."""
    role = make_url(settings.database_url).username
    if connection.dialect.name != "postgresql" or not role or settings.owner_url == settings.database_url:
        return
    quoted = connection.dialect.identifier_preparer.quote(role)
    for statement in (
        f"GRANT USAGE ON SCHEMA public TO {quoted}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {quoted}",
        f"REVOKE UPDATE, DELETE ON events FROM {quoted}",
    ):
        connection.exec_driver_sql(statement)
