"""Bringing a database to the newest schema, and the stamp that keeps test and live apart.

The owner's role migrates (`DATABASE_OWNER_URL`); the application's role gets rows, never tables.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from alembic import command
from sqlalchemy import create_engine, inspect, select
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Mapped, mapped_column

from core import clock, guard, revisions
from core.db import Database
from core.models import Base
from core.private import private_database
from core.scope import everything
from core.settings import Misconfigured, Settings

LOCK_TIMEOUT = "5s"  # PostgreSQL; a migration that waits for a lock keeps everybody behind it waiting

class Deployment(Base):
    """One row: which mode this database belongs to, for ever."""

    __tablename__ = "deployment"

    id: Mapped[str] = mapped_column(primary_key=True)
    mode: Mapped[str]
    created_at: Mapped[datetime]


def upgrade(settings: Settings) -> None:
    """Create or migrate the tables, grant the application's role its rows, stamp the mode. Safe to repeat.

    Raises Misconfigured, before anything is changed, for a database of the other mode or of a newer version, and when
    somebody holds a lock on a table for longer than LOCK_TIMEOUT. All of it is one transaction.
    """
    url = make_url(settings.owner_url)
    if url.get_backend_name() == "sqlite" and url.database:
        private_database(Path(url.database))
    engine = create_engine(url)
    try:
        with engine.begin() as connection, guard.raw_sql():
            _refuse(connection, settings)
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            config = revisions.config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            grant(connection, settings)
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        raise Misconfigured("Another program holds a lock on a table, so nothing was changed. Stop the processes of the portal and "
                            "long-running queries (see pg_stat_activity), then run upgrade again.") from error
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
    """Raise Misconfigured where an upgrade would touch a database of the other mode, or of a newer version."""
    found = revisions.of(connection)
    if not found <= revisions.known():
        raise Misconfigured(revisions.problem(found))
    if found and inspect(connection).has_table("deployment"):
        if connection.dialect.name == "postgresql":  # the owner is subject to row-level security as well
            connection.exec_driver_sql("SELECT set_config('portal.kind', 'everything', true)")
        mode = connection.exec_driver_sql("SELECT mode FROM deployment").scalar()
        if mode not in (None, settings.mode):
            raise Misconfigured(_WRONG_MODE.format(mode, settings.mode))


_WRONG_MODE = "This database belongs to a {} deployment; PORTAL_MODE is {}. Test and live data never meet: use another DATABASE_URL."


def check(database: Database) -> None:
    """Refuse to serve a database of the other mode, or of another schema than this code's. Raises Misconfigured."""
    with guard.raw_sql(), database.engine.connect() as connection:
        problem = revisions.problem(revisions.of(connection))
    if problem:
        raise Misconfigured(problem)
    with database.open(everything("read the deployment's stamp")) as db:
        mode = db.scalar(select(Deployment.mode))
    if mode != database.settings.mode:
        raise Misconfigured(_WRONG_MODE.format(mode, database.settings.mode))


def grant(connection: Connection, settings: Settings) -> None:
    """Give the application's role the rows of every table (PostgreSQL), and take changing events away from it."""
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
