"""Create the application: create_app(settings) connects all packages. No other module imports this one."""

from __future__ import annotations

import os
from datetime import timedelta

from dotenv import load_dotenv
from flask import Flask

import auth
import auth.domains
import auth.oidc_server
import portal
import portal.statements
import tenants.api
import tenants.business_portal
import tenants.cli
import tenants.console
import tenants.customer_api
import tenants.demo
import tenants.deployment_check
import tenants.external
import tenants.operator
import tenants.operator.clock
import tenants.payment_notifications
import tenants.vies
import tenants.webhooks
import unified
from billing import metrics as billing_metrics
from billing.charging import notifications, tax_reports
from billing.charging.payment_processor import PaymentProcessor
from billing.charging.payment_processors import PaymentProcessors
from billing.charging.ports import GatewayKind
from billing.documents.store import DocumentStore
from billing.external.dispatch import ActionDispatcher
from billing.model import gateway_notifications
from billing.renewals import dunning, renew, tax_estimates
from billing.subscriptions import dispute_policy
from core import application, cli, error_reports, log, mail_server, recurring_jobs, schema, tracing
from core.db import Database
from core.edge import Edge
from core.handlers import Handlers
from core.ids import derive
from core.mail import Mailer
from core.metrics import deployment
from core.metrics.snapshot import Snapshot
from core.outgoing import Outgoing
from core.private_files import private_folder, private_umask
from core.services import Services
from core.settings import Settings
from core.worker import Tick, Worker
from gateways.stripe import StripeKind
from tenants.external.delegation import AccountActions
from tenants.external.systems import SYSTEMS

PACKAGES = (
    auth,
    auth.domains,
    auth.oidc_server,
    portal,
    portal.statements,
    unified,
    tenants.business_portal,
    tenants.api,
    tenants.customer_api,
    tenants.external,
    tenants.payment_notifications,
    tenants.webhooks,
    tenants.vies,
    tenants.console,
    tenants.cli,
    tenants.operator.clock,
    tenants.demo,
    tenants.operator,
)


def create_app(settings: Settings | None = None) -> Flask:
    """Create an application with one database and one mode. Raises core.settings.Misconfigured."""
    if settings is None:
        load_dotenv()
        settings = Settings.from_env(os.environ)
    log.configure(settings.log_level)  # before the database is checked: without it, log lines go to stdout, among a command's output
    if settings.data_dir.exists():
        private_folder(settings.data_dir)
    app = Flask("wsgi", template_folder="templates", static_folder="static")
    cli.register(app, settings)
    tenants.deployment_check.register(app, settings)
    if cli.prepares_database():  # `flask upgrade` runs before there is a database to check
        return app

    database = Database(settings)
    schema.check(database)
    sandbox, outgoing = _sandbox(settings), Outgoing(settings)
    processor = PaymentProcessor(database, PaymentProcessors(database, settings, _kinds(settings, sandbox, outgoing)), settings)
    handlers = Handlers()
    worker = Worker(database, handlers, _ticks(processor, sandbox))
    worker.around = app.app_context
    services = Services(
        settings,
        database,
        gateway=sandbox,
        worker=worker,
        mailer=Mailer(settings, database),
        documents=DocumentStore(database, settings),
        processor=processor,
        handlers=handlers,
        outgoing=outgoing,
    )
    services.forwarder = ActionDispatcher(database, {name: AccountActions(services, system) for name, system in SYSTEMS.items()})
    services.documents.systems = services.forwarder.systems
    worker.ticks.append(Tick("mail server", mail_server.EVERY, services.mailer.server.learn))

    services.metrics = Snapshot(database)
    deployment.register(services.metrics, worker)
    billing_metrics.register(services.metrics)
    application.register(app, services)
    error_reports.init(settings)
    tracing.init(app, settings, *database.engines)
    if sandbox is not None:
        from gateways.sandbox.pages import make_blueprint

        sandbox.notify = notifications.of_sandbox(processor)
        app.register_blueprint(make_blueprint(sandbox))
    notifications.register(handlers, processor)
    tax_reports.register(handlers, processor)
    dispute_policy.register(handlers, processor)
    for package in PACKAGES:
        package.register(app, services)
    return app


def serve_app() -> Edge:
    """Create the ASGI application of a serving process; starts the worker thread unless PORTAL_WORKER=off."""
    private_umask()
    app = create_app()
    if app.extensions["portal"].settings.worker != "off":
        app.extensions["portal"].lifecycle.start_worker(app.extensions["portal"].worker)
    return Edge(app, trusted=app.extensions["portal"].settings.trusted_proxies)


def _kinds(settings: Settings, sandbox, outgoing: Outgoing) -> dict[str, GatewayKind]:  # type: ignore[no-untyped-def]
    """Return the kinds of payment processors by name. Only this module imports concrete gateways."""
    kinds: dict[str, GatewayKind] = {StripeKind.name: StripeKind(outgoing)}
    if sandbox is not None:
        from gateways.sandbox import SandboxKind

        kinds[SandboxKind.name] = SandboxKind(sandbox)
    assert set(kinds) == set(settings.processor_kinds)
    return kinds


def _sandbox(settings: Settings):  # type: ignore[no-untyped-def]
    if "sandbox" not in settings.processor_kinds:
        return None
    from gateways.sandbox import SandboxGateway

    secret = derive(settings.secret_keys, f"{settings.mode}/sandbox", "notifications").hex()
    return SandboxGateway(settings.data_dir / "sandbox.sqlite3", settings.base_url, secret)


def _ticks(processor: PaymentProcessor, sandbox) -> list[Tick]:  # type: ignore[no-untyped-def]
    ticks = [
        Tick("renewals", timedelta(seconds=5), lambda: renew.run_due(processor)),
        Tick("reconcile", timedelta(seconds=3), processor.reconcile),
        Tick("tax estimates", timedelta(seconds=30), lambda: tax_estimates.run_due(processor)),
        Tick("tax reports", timedelta(seconds=15), lambda: tax_reports.run_due(processor)),
        Tick("dunning", timedelta(minutes=1), lambda: dunning.run_due(processor)),
        Tick("old failures", timedelta(hours=1), lambda: recurring_jobs.sweep(processor.database)),
        Tick("old notifications", timedelta(hours=1), lambda: gateway_notifications.sweep(processor.database)),
    ]
    if sandbox is not None:
        ticks.insert(0, Tick("sandbox notifications", timedelta(seconds=1), sandbox.deliver_due))
    return ticks
