"""The whole house on one screen: create_app(settings) wires the rooms together. Nobody imports this."""

from __future__ import annotations

import os
from datetime import timedelta

from dotenv import load_dotenv
from flask import Flask

import auth
import auth.domains
import auth.provider
import portal
import tenants.api
import tenants.cli
import tenants.clock
import tenants.console
import tenants.demo
import tenants.elsewhere
import tenants.portal
import tenants.webhooks
import unified
from billing import dunning, notifications, renewals
from billing.documents_store import DocumentStore
from billing.forwarding import Forwarder
from billing.till import Till
from core import cli, mail_server, schema, turns, web
from core.db import Database
from core.edge import Edge
from core.ids import derive
from core.mail import Mailer
from core.outgoing import Outgoing
from core.private import private_folder, private_umask
from core.settings import Settings
from core.web import House
from core.worker import Handlers, Tick, Worker
from tenants.elsewhere.dodo import Dodo


def create_app(settings: Settings | None = None) -> Flask:
    """One application, on one database, in one mode. Raises core.settings.Misconfigured."""
    if settings is None:
        load_dotenv()
        settings = Settings.from_env(os.environ)
    if settings.data_dir.exists():
        private_folder(settings.data_dir)
    app = Flask("wsgi", template_folder="templates", static_folder="static")
    cli.register(app, settings)
    if cli.prepares_database():  # `flask upgrade` runs before there is a database to check
        return app

    database = Database(settings)
    schema.check(database)
    gateway = _gateway(settings)
    till = Till(database, gateway, settings)
    handlers = Handlers()
    worker = Worker(database, handlers, _ticks(till, gateway))
    worker.around = app.app_context
    house = House(settings, database, gateway=gateway, worker=worker, mailer=Mailer(settings, database),
                  documents=DocumentStore(database, settings), till=till, handlers=handlers, outgoing=Outgoing(settings))
    house.forwarder = Forwarder(database, {"dodo": Dodo(house)})
    house.documents.systems = house.forwarder.systems
    worker.ticks.append(Tick("mail server", mail_server.EVERY, house.mailer.server.learn))

    web.register(app, house)
    if gateway is not None:
        from gateways.sandbox.pages import make_blueprint

        gateway.notify = till.notified
        app.register_blueprint(make_blueprint(gateway))
    handlers.on("gateway.notified", lambda work: till.follow(work.data["key"]), "till.follow")
    for room in (auth, auth.domains, auth.provider, portal, unified, tenants.portal, tenants.api, tenants.elsewhere, tenants.webhooks,
                 tenants.console, tenants.cli, tenants.clock, tenants.demo):
        room.register(app, house)
    return app


def serve_app() -> Edge:
    """What `flask serve` runs in its serving process: the application, and the worker's thread unless PORTAL_WORKER=off."""
    private_umask()
    app = create_app()
    if app.extensions["portal"].settings.worker != "off":
        cli.start_worker(app)
    return Edge(app, trusted=app.extensions["portal"].settings.trusted_proxies)


def _gateway(settings: Settings):  # type: ignore[no-untyped-def]
    """The concrete gateway is known here and nowhere else."""
    if settings.gateway == "none":
        return None
    from gateways.sandbox import SandboxGateway

    secret = derive(settings.secret_keys, f"{settings.mode}/sandbox", "notifications").hex()
    return SandboxGateway(settings.data_dir / "sandbox.sqlite3", settings.base_url, secret)


def _ticks(till: Till, gateway) -> list[Tick]:  # type: ignore[no-untyped-def]
    ticks = [Tick("renewals", timedelta(seconds=5), lambda: renewals.run_due(till)),
             Tick("reconcile", timedelta(seconds=3), till.reconcile),
             Tick("dunning", timedelta(minutes=1), lambda: dunning.run_due(till)),
             Tick("old failures", timedelta(hours=1), lambda: turns.sweep(till.database)),
             Tick("old notifications", timedelta(hours=1), lambda: notifications.sweep(till.database))]
    if gateway is not None:
        ticks.insert(0, Tick("sandbox notifications", timedelta(seconds=1), gateway.deliver_due))
    return ticks
