"""`flask --app wsgi pull dodo --business ID`: pull an account at an external billing system into a business (docs/importing.md)."""

from __future__ import annotations

import json
import os
import sys

import click
from flask import Flask
from flask.cli import AppGroup

from billing.history import api_lists as read
from core.errors import PortalError
from core.outgoing import RequestRefused
from core.scope import system
from core.services import Services
from tenants.external import incoming_webhooks
from tenants.external.account import Reach, connect, note_failure, origin_of
from tenants.external.pull import pull
from tenants.external.reader import AccountReader
from tenants.external.system import BillingSystem, CallFailed
from tenants.external.systems import SYSTEMS


def register(app: Flask, services: Services) -> None:
    group = AppGroup("pull", help="Import a business's data from another billing system and keep it up to date.")
    for billing_system in SYSTEMS.values():
        group.add_command(_command(services, billing_system))
    app.cli.add_command(group)


def _command(services: Services, billing_system: BillingSystem) -> click.Command:
    key_name, secret_name = billing_system.variables

    @click.option("--business", "business_id", required=True, help="The business that the account belongs to.")
    @click.option("--base-url", default=billing_system.address(services.settings.mode), show_default=True, help="Base URL of the API.")
    @click.option("--webhooks", is_flag=True, help="Subscribe to the account's webhooks (requires an API key with write access).")
    def run(business_id: str, base_url: str, webhooks: bool) -> None:
        key = os.environ.get(key_name, "").strip()
        if not key:
            raise click.ClickException(f"Set {key_name} to the API key of the account.")
        try:
            reader = _connect(services, billing_system, business_id, Reach(base_url.rstrip("/"), key), webhooks)
            click.echo(json.dumps(_pull_with_progress(reader)))
        except CallFailed as refused:
            note_failure(services.database, business_id, billing_system.name, refused.reason)
            raise click.ClickException(
                f"The account refused the request: {refused.message or refused.reason}. The data read so far is kept. "
                "Run the command again to continue."
            ) from None
        except RequestRefused as refused:
            raise click.ClickException(f"{base_url}: {refused}") from None
        except PortalError as error:
            raise click.ClickException("; ".join(getattr(error, "fields", {}).values()) or error.sentence) from None

    doc = (
        f"Pull an account at {billing_system.title}.\n\n"
        f"Set {key_name} to its API key, and {secret_name} to the webhook secret if you set up a webhook by hand."
    )
    return click.command(billing_system.name, help=doc)(run)


def _connect(services: Services, billing_system: BillingSystem, business_id: str, reach: Reach, webhooks: bool) -> AccountReader:
    """Store the connection, after its key was tried, and return a reader. Raises CallFailed, PortalError, RequestRefused."""
    services.outgoing.check(reach.base_url)
    api = billing_system.open(services.outgoing, reach)
    reference = billing_system.check(api, reach.api_key, services.settings.mode)
    secret = os.environ.get(billing_system.variables[1], "").strip() or None
    with services.database.open(system(business_id), write=True) as db:
        read.business(db, business_id)
        connect(
            db, services.settings, business_id, billing_system.name, base_url=reach.base_url, api_key=reach.api_key, webhook_key=secret,
            reference=reference or None,
        )  # fmt: skip
    if webhooks:
        incoming_webhooks.subscribe(services, business_id, api, billing_system.name)
    origin = origin_of(services.database, business_id, billing_system.name)
    assert origin is not None
    return AccountReader(services.database, services.settings, api, business_id, origin, billing_system)


def _pull_with_progress(reader: AccountReader) -> dict[str, int]:
    err = sys.stderr
    reported: dict[str, int] = {}
    with click.progressbar(length=1, label="Pulling", file=err, show_eta=False, item_show_func=lambda item: item or "") as bar:

        def report(name: str, rows: int) -> None:
            if reported.get(name) != rows:
                reported[name] = rows
                bar.update(0, f"{rows} {name}")
                if not err.isatty():
                    click.echo(f"{name}: {rows}", file=err)

        counts = pull(reader, report)
        bar.update(1, "done")
    return {"new": counts.new, "changed": counts.changed, "same": counts.same, "left_out": reader.skipped}
