"""Commands for operators: `flask --app wsgi upgrade | serve | worker | backup | restore`. Business commands are in `tenants/cli.py`."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading

import click
from flask import Flask
from flask.cli import with_appcontext

from core import backup, email_log_queries, schema
from core.metrics import timing
from core.private_files import private_umask
from core.request_context import services
from core.scope import everything
from core.services import Services
from core.settings import Misconfigured, Settings

WITHOUT_DATABASE = {"upgrade", "downgrade", "backup", "restore", "check"}


def prepares_database() -> bool:
    """True for commands that run before the database exists, or while the application cannot start."""
    return os.path.basename(sys.argv[0]) in ("flask", "flask.exe", "__main__.py") and not WITHOUT_DATABASE.isdisjoint(sys.argv[1:])


def register(app: Flask, settings: Settings) -> None:
    backup.register(app, settings)

    @app.cli.command("upgrade")
    def upgrade() -> None:
        """Upgrade the database to the newest schema."""
        private_umask()
        schema.upgrade(settings, click.echo)
        click.echo("The database is at the newest schema.")

    @app.cli.command("downgrade")
    def downgrade() -> None:
        """Print how to go back to an earlier version. Changes nothing: a schema cannot be downgraded."""
        raise Misconfigured(schema.way_back())

    @app.cli.command("worker")
    @with_appcontext
    def worker() -> None:
        """Send emails and webhooks, and run recurring jobs such as renewals. Several can run at once (PostgreSQL)."""
        private_umask()
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        signal.signal(signal.SIGINT, lambda *_: stop.set())
        listen(services())
        services().worker.run_forever(stop)

    @app.cli.command("emails")
    @click.option("--to", "address", required=True, help="The recipient's address.")
    @with_appcontext
    def emails(address: str) -> None:
        """Print the emails to an address in the last 90 days, newest first, as one JSON object per line."""
        _print_emails(settings, address)

    @app.cli.command("serve")
    @click.option("--port", default=lambda: int(os.environ.get("PORT", "5000")), type=int, help="Port to listen on.")
    @click.option("--host", default="127.0.0.1", help="Address to listen on.")
    @click.option("--processes", default=1, help="Serving processes; more than one needs PostgreSQL.")
    @with_appcontext
    def serve(port: int, host: str, processes: int) -> None:
        """Run the production server, with an embedded worker unless PORTAL_WORKER=off."""
        _serve(settings, host, port, processes)


def listen(services: Services) -> None:
    """Serve /metrics on PORTAL_METRICS_LISTEN. Raises Misconfigured when the address cannot be used."""
    from core.metrics import listener

    try:
        listener.start(services)
    except OSError as problem:
        raise Misconfigured(f"PORTAL_METRICS_LISTEN cannot be used: {problem.strerror or problem}.") from problem


def _print_emails(settings: Settings, address: str) -> None:
    with services().database.open(everything("look up sent emails")) as db:
        found = email_log_queries.of_address(db, settings, address)
    for item in found:
        click.echo(
            json.dumps(
                {
                    "event_id": item.event_id,
                    "about": item.kind,
                    "business_id": item.business_id,
                    "state": item.outcome,
                    "reason": item.reason,
                    "code": item.code,
                    "attempts": item.attempts,
                    "message_id": item.message_id,
                    "created_at": item.created_at.isoformat(),
                    "updated_at": item.updated_at.isoformat(),
                    "deferred_at": item.deferred_at.isoformat() if item.deferred_at else None,
                }
            )
        )


def _serve(settings: Settings, host: str, port: int, processes: int) -> None:
    from core import serving

    if processes > 1 and settings.is_sqlite:
        raise Misconfigured("--processes needs PostgreSQL: SQLite serves one process. Set DATABASE_URL.")

    private_umask()
    # Serving processes are forked, and an SQLite connection must not be used after a fork. Each process opens its own
    # connection and starts its own worker thread (wsgi.serve_app).
    services().database.dispose()
    for engine in services().database.engines:
        timing.forget(engine)
    click.echo(f"{settings.name} ({settings.mode} mode) is at {settings.base_url}")
    if settings.is_test and settings.is_loopback:
        click.echo(f"Test emails are at {settings.base_url}/mailbox")
    serving.serve("wsgi:serve_app", host, port, processes, delay=settings.drain_delay, overlap=not settings.is_sqlite)
