"""`flask --app wsgi pull dodo --business ID`: pull an account at Dodo Payments into a business (docs/importing.md)."""

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
from tenants.external.client import client, failure_reason
from tenants.external.pull import pull
from tenants.external.reader import SOURCE, AccountReader

HOSTS = {"live": "https://live.dodopayments.com", "test": "https://test.dodopayments.com"}


def register(app: Flask, services: Services) -> None:
    group = AppGroup("pull", help="Import a business's data from another billing system and keep it up to date.")

    @group.command("dodo")
    @click.option("--business", "business_id", required=True, help="The business that the account belongs to.")
    @click.option("--base-url", default=HOSTS[services.settings.mode], show_default=True, help="Base URL of the API.")
    @click.option("--webhooks", is_flag=True, help="Subscribe to the account's webhooks (requires an API key with write access).")
    def dodo(business_id: str, base_url: str, webhooks: bool) -> None:
        """Pull an account at Dodo Payments.

        Set DODO_PAYMENTS_API_KEY to its API key, and DODO_PAYMENTS_WEBHOOK_KEY to the webhook secret if you set up a webhook by hand.
        """
        key = os.environ.get("DODO_PAYMENTS_API_KEY", "").strip()
        if not key:
            raise click.ClickException("Set DODO_PAYMENTS_API_KEY to the API key of the account.")
        from dodopayments import APIError

        reach = Reach(base_url.rstrip("/"), key)
        try:
            services.outgoing.check(reach.base_url)
            api = client(services.outgoing, reach)
            api.customers.list(page_size=1)  # fails for a wrong key before anything is stored
            _store_connection(services, business_id, reach)
            if webhooks:
                incoming_webhooks.subscribe(services, business_id, api)
            origin = origin_of(services.database, business_id, SOURCE)
            assert origin is not None
            click.echo(json.dumps(_pull_with_progress(AccountReader(services.database, services.settings, api, business_id, origin))))
        except APIError as refused:
            note_failure(services.database, business_id, SOURCE, failure_reason(refused))
            raise click.ClickException(
                f"The account refused the request: {refused.message}. The data read so far is kept. Run the command again to continue."
            ) from None
        except RequestRefused as refused:
            raise click.ClickException(f"{base_url}: {refused}") from None
        except PortalError as error:
            raise click.ClickException(error.sentence) from None

    app.cli.add_command(group)


def _store_connection(services: Services, business_id: str, reach: Reach) -> None:
    with services.database.open(system(business_id), write=True) as db:
        read.business(db, business_id)
        connect(
            db,
            services.settings,
            business_id,
            SOURCE,
            base_url=reach.base_url,
            api_key=reach.api_key,
            webhook_key=os.environ.get("DODO_PAYMENTS_WEBHOOK_KEY", "").strip() or None,
        )


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
