"""Checks of the database: connection, schema, mode, roles, row-level security, clock, replica, worker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import create_engine, func, select
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import SQLAlchemyError

from core import clock, guard, migration_runner, migration_steps, revisions
from core.checks import Finding, ok, wrong
from core.db import Database
from core.leases import Lease
from core.models import tables_by_kind
from core.replica import MAX_LAG
from core.schema import Deployment
from core.scope import everything
from core.settings import Settings

MOST_DRIFT = 5.0  # seconds between this machine's clock and the database's
WORKER_SILENT = timedelta(minutes=2)
OPEN = frozenset({"alembic_version", "deployment"})  # tables without row-level security, besides those with `__open__`


@dataclass(frozen=True)
class Role:
    """The rights of the application's role in PostgreSQL."""

    name: str
    is_superuser: bool = False
    bypasses_rls: bool = False
    makes_roles: bool = False
    owns: tuple[str, ...] = ()
    becomes_owner: bool = False
    makes_tables: bool = False
    denied: tuple[str, ...] = ()
    unguarded: tuple[str, ...] = ()


def reachable(settings: Settings) -> Finding | None:
    """Return a finding if the database does not answer, else None. Does not create a missing SQLite file."""
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite" and not (url.database and Path(url.database).is_file()):
        return wrong("database", f"{url.database} does not exist", "run `flask --app wsgi upgrade`")
    engine = create_engine(url, connect_args={} if settings.is_sqlite else {"connect_timeout": 5})
    try:
        with engine.connect():
            return None
    except SQLAlchemyError as error:
        return wrong("database", f"it does not answer ({_reason(error)})", "check DATABASE_URL, and that the server is running")
    finally:
        engine.dispose()


def schema_and_stamp(database: Database) -> list[Finding]:
    with guard.raw_sql(), database.engine.connect() as connection:
        found = revisions.of(connection)
    if problem := revisions.problem(found):
        return [wrong("schema", problem, "follow docs/operations/upgrade.md")]
    with database.open(everything("flask check: the stamp")) as db:
        mode = db.scalar(select(Deployment.mode))
        done = set(db.scalars(select(migration_steps.MigrationStep.id).where(migration_steps.MigrationStep.done_at.is_not(None))))
    if left := sorted(migration_runner.expected() - done):
        return [wrong("schema", f"an upgrade was interrupted before step {left[0]}", revisions.UPGRADE + " again")]
    if mode != database.settings.mode:
        return [wrong("mode of the database", f"{mode}, and PORTAL_MODE is {database.settings.mode}", "use another DATABASE_URL")]
    return [ok("schema", ", ".join(found)), ok("mode of the database", str(mode))]


def application_role(role: Role) -> list[Finding]:
    name = f"database role {role.name}"
    rights = [
        word
        for word, is_so in (
            ("is a superuser", role.is_superuser),
            ("bypasses row-level security", role.bypasses_rls),
            ("may create roles", role.makes_roles),
            ("is a member of the owner's role", role.becomes_owner),
            ("may create tables", role.makes_tables),
        )
        if is_so
    ]
    if role.owns:
        rights.append(f"owns {len(role.owns)} tables")
    found = []
    if rights:
        found.append(
            wrong(
                name,
                f"it {', '.join(rights)}: one business could read another's rows",
                "create two roles as in docs/operations/postgresql.md",
            )
        )
    if role.denied:
        found.append(
            wrong(name, f"it may not read and write {', '.join(role.denied[:5])}", "run `flask --app wsgi upgrade` with DATABASE_OWNER_URL")
        )
    if role.unguarded:
        found.append(
            wrong(
                "row-level security",
                f"it is off for {', '.join(role.unguarded[:5])}",
                "restore the database with the documented commands: rows of businesses are not separated",
            )
        )
    return found or [ok(name, "owns no tables, and row-level security applies to it")]


def role_and_times(database: Database) -> tuple[Role, tuple[datetime, datetime]]:
    """Return the input of `application_role` and `clocks` (PostgreSQL)."""
    with guard.raw_sql(), database.engine.connect() as connection:
        return role_of(connection), database_time(connection)


def role_of(connection: Connection) -> Role:
    """Return the rights of the role (PostgreSQL). Runs hand-written SQL: call it within `raw_sql()`."""
    run = connection.exec_driver_sql
    name, superuser, bypasses, makes_roles, makes_tables = run(
        "SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, has_schema_privilege(current_schema(), 'CREATE') FROM pg_roles"
        " WHERE rolname = current_user"
    ).one()
    tables = run(
        "SELECT c.relname, r.rolname, pg_has_role(current_user, c.relowner, 'MEMBER'), c.relrowsecurity AND c.relforcerowsecurity,"
        " has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT') FROM pg_class c"
        " JOIN pg_roles r ON r.oid = c.relowner WHERE c.relkind IN ('r', 'p') AND c.relnamespace = current_schema()::regnamespace"
        " ORDER BY c.relname"
    ).all()
    kinds = tables_by_kind()
    guarded_kinds = {table for table, kind in kinds.items() if kind != "open"} - OPEN
    return Role(
        name,
        superuser,
        bypasses,
        makes_roles,
        tuple(table for table, owner, *_ in tables if owner == name),
        not superuser and any(member and owner != name for _, owner, member, *_ in tables),
        makes_tables,
        tuple(table for table, _, _, _, may in tables if not may and table in kinds),
        tuple(table for table, _, _, guarded, _ in tables if not guarded and table in guarded_kinds),
    )


def owner(settings: Settings) -> Finding:
    """Check that a separate role owns the tables and can log in."""
    mine, theirs = make_url(settings.database_url).username, make_url(settings.owner_url).username
    if mine == theirs:
        return wrong(
            "DATABASE_OWNER_URL", "the owner is the application's own role", "create two roles as in docs/operations/postgresql.md"
        )
    engine = create_engine(settings.owner_url, connect_args={"connect_timeout": 5})
    try:
        with engine.connect() as connection:
            owns = connection.exec_driver_sql(
                "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND NOT pg_has_role(current_user, tableowner, 'USAGE')"
            ).scalar_one()
    except SQLAlchemyError as error:
        return wrong("DATABASE_OWNER_URL", f"it cannot log in ({_reason(error)})", "`upgrade` and backups need it")
    finally:
        engine.dispose()
    if owns:
        return wrong("DATABASE_OWNER_URL", f"{owns} tables belong to another role", "ALTER TABLE … OWNER TO this role")
    return ok("DATABASE_OWNER_URL", f"{theirs} owns the tables")


def clocks(ours: datetime, theirs: datetime) -> Finding:
    drift = abs((ours - theirs).total_seconds())
    if drift > MOST_DRIFT:
        return wrong(
            "clock",
            f"this machine and the database are {drift:.0f} seconds apart: leases and limits do not work correctly",
            "synchronize both with NTP (chrony, systemd-timesyncd)",
        )
    return ok("clock", f"within {MOST_DRIFT:.0f} seconds of the database's")


def database_time(connection: Connection) -> tuple[datetime, datetime]:
    """Return (this machine's time, the database's time). Ours is the middle between sending and receiving."""
    before = clock.wall()
    theirs = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
    return before + (clock.wall() - before) / 2, theirs


def worker(last_seen: datetime | None, now: datetime) -> Finding:
    """Check that a worker runs. `last_seen`: latest end of a worker's lease for a recurring job."""
    if last_seen is None:
        return wrong("worker", "none has ever run", "start `serve` with PORTAL_WORKER=thread, or a `worker`; then check again")
    if now - last_seen > WORKER_SILENT:
        return wrong(
            "worker",
            f"none has run since {last_seen:%Y-%m-%d %H:%M} UTC: no emails, no renewals",
            "start `serve` with PORTAL_WORKER=thread, or a `worker`",
        )
    return ok("worker", "running")


def last_job(database: Database) -> datetime | None:
    """Return the end of the lease of the renewals job, which is taken every five seconds."""
    with database.open(everything("flask check: recurring jobs")) as db:
        return db.scalar(select(func.max(Lease.until)).where(Lease.name == "renewals"))


def replica(database: Database) -> list[Finding]:
    if database.replica is None:
        return []
    name = "DATABASE_REPLICA_URL"
    try:
        with guard.raw_sql(), database.replica.engine.connect().execution_options(postgresql_readonly=True) as connection:
            is_standby = connection.dialect.name == "postgresql" and connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar_one()
        database.replica.check()
    except SQLAlchemyError as error:
        return [wrong(name, f"it does not answer ({_reason(error)})", "pages use the primary meanwhile; repair it or remove the setting")]
    return [replica_state(is_standby, database.replica.lag)]


def poolers(database: Database) -> list[Finding]:
    """Check that the settings of each connection pooler, if there is one, work with the portal."""
    found = []
    for pooler in database.poolers:
        if problem := pooler.problem():
            text, _, todo = problem.partition(". ")
            found.append(wrong("connection pooler", text, todo))
        elif pooler.pooled:
            found.append(ok("connection pooler", f"{pooler.name} uses one with working settings"))
    return found


def replica_state(is_standby: bool, lag: float | None) -> Finding:
    name = "DATABASE_REPLICA_URL"
    if not is_standby:
        return wrong(
            name, "it is not a standby: it does not follow the primary", "use the URL of a streaming replica, or remove the setting"
        )
    if lag is None or lag > MAX_LAG:
        return wrong(
            name,
            "it does not answer" if lag is None else f"it is {lag:.0f} seconds behind",
            "pages use the primary meanwhile; see pg_stat_replication",
        )
    return ok(name, f"it answers, {lag:.0f} seconds behind")


def _reason(error: SQLAlchemyError) -> str:
    """Return the class of the error only, because messages may hold passwords."""
    return type(getattr(error, "orig", None) or error).__name__
