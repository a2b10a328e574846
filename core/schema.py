"""Bringing a database to the newest schema, and the stamp that keeps test and live apart.

The owner's role migrates (`DATABASE_OWNER_URL`); the application's role gets rows, never tables.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, inspect, select
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.orm import Mapped, mapped_column

from core import clock, guard
from core.db import Database
from core.models import Base
from core.scope import everything
from core.settings import Misconfigured, Settings

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


class Deployment(Base):
    """One row: which mode this database belongs to, for ever."""

    __tablename__ = "deployment"

    id: Mapped[str] = mapped_column(primary_key=True)
    mode: Mapped[str]
    created_at: Mapped[datetime]


def upgrade(settings: Settings) -> None:
    """Create or migrate the tables, grant the application's role its rows, stamp the mode. Safe to repeat."""
    url = make_url(settings.owner_url)
    if url.get_backend_name() == "sqlite" and url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url)
    with engine.begin() as connection, guard.raw_sql():
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        grant(connection, settings)
    engine.dispose()
    database = Database(settings)
    try:
        with database.open(everything("stamp the deployment"), write=True) as db:
            stamp = db.scalar(select(Deployment))
            if stamp is None:
                db.add(Deployment(id="this", mode=settings.mode, created_at=clock.wall()))
            elif stamp.mode != settings.mode:
                raise Misconfigured(_WRONG_MODE.format(stamp.mode, settings.mode))
    finally:
        database.dispose()


_WRONG_MODE = "This database belongs to a {} deployment; PORTAL_MODE is {}. Test and live data never meet: use another DATABASE_URL."


def check(database: Database) -> None:
    """Refuse to serve a database of the other mode, or one that was never prepared. Raises Misconfigured."""
    with guard.raw_sql():
        prepared = inspect(database.engine).has_table("deployment")
    if not prepared:
        raise Misconfigured("The database has no tables yet: run `flask --app wsgi upgrade` first.")
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
