"""Operators' commands: `flask --app wsgi upgrade | serve | worker | backup | restore`. Business commands are in `tenants/cli.py`."""

from __future__ import annotations

import os
import signal
import sys
import threading

import click
from flask import Flask
from flask.cli import with_appcontext

from core import backup, schema
from core.private import private_umask
from core.settings import Misconfigured, Settings
from core.web import house

WITHOUT_DATABASE = {"upgrade", "backup", "restore"}


def prepares_database() -> bool:
    """True for the commands that run on a database which is not there yet, or whose application could not start."""
    return os.path.basename(sys.argv[0]) in ("flask", "flask.exe", "__main__.py") and not WITHOUT_DATABASE.isdisjoint(sys.argv[1:])


def register(app: Flask, settings: Settings) -> None:
    backup.register(app, settings)

    @app.cli.command("upgrade")
    def upgrade() -> None:
        """Bring the database to the newest schema."""
        private_umask()
        schema.upgrade(settings)
        click.echo("The database is at the newest schema.")

    @app.cli.command("worker")
    @with_appcontext
    def worker() -> None:
        """Carry events to the world: letters, webhooks, renewals. Run as many as you like (PostgreSQL)."""
        private_umask()
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        signal.signal(signal.SIGINT, lambda *_: stop.set())
        house().worker.run_forever(stop)

    @app.cli.command("serve")
    @click.option("--port", default=lambda: int(os.environ.get("PORT", "5000")), type=int, help="Port to listen on.")
    @click.option("--host", default="127.0.0.1", help="Address to listen on.")
    @click.option("--processes", default=1, help="Serving processes; more than one needs PostgreSQL.")
    @with_appcontext
    def serve(port: int, host: str, processes: int) -> None:
        """The production server, with the worker embedded unless PORTAL_WORKER=off."""
        from core import serving

        if processes > 1 and settings.is_sqlite:
            raise Misconfigured("--processes needs PostgreSQL: SQLite serves one process. Set DATABASE_URL.")

        private_umask()
        # The serving process is forked: an SQLite connection must not travel through that, so it opens its own,
        # and starts the worker's thread itself (wsgi.serve_app).
        house().database.dispose()
        click.echo(f"{settings.name} ({settings.mode} mode) is at {settings.base_url}")
        if settings.is_test and settings.is_loopback:
            click.echo(f"Letters are at {settings.base_url}/mailbox")
        serving.serve("wsgi:serve_app", host, port, processes)


def start_worker(app: Flask) -> None:
    """The embedded worker: a thread of the serving process."""
    worker = app.extensions["portal"].worker
    threading.Thread(target=worker.run_forever, args=(threading.Event(),), name="worker", daemon=True).start()
