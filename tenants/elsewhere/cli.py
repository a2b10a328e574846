"""`flask --app wsgi pull dodo --business ID`: an account at Dodo Payments into a business (docs/importing.md)."""

from __future__ import annotations

import json
import os

import click
from flask import Flask
from flask.cli import AppGroup

from billing.queries import api as read
from core.errors import PortalError
from core.outgoing import Refused
from core.scope import system
from core.web import House
from tenants.elsewhere import hooks
from tenants.elsewhere.account import Reach, connect, note_failure, origin_of
from tenants.elsewhere.client import client, why
from tenants.elsewhere.pull import pull
from tenants.elsewhere.reader import SOURCE, Reader

HOSTS = {"live": "https://live.dodopayments.com", "test": "https://test.dodopayments.com"}


def register(app: Flask, house: House) -> None:
    group = AppGroup("pull", help="Read a business's data from another billing system, and keep it up to date.")

    @group.command("dodo")
    @click.option("--business", "business_id", required=True, help="Whose account it is.")
    @click.option("--base-url", default=HOSTS[house.settings.mode], show_default=True, help="Where its API is.")
    @click.option("--webhooks", is_flag=True, help="Ask the account to tell us what changes (needs a key that may write).")
    def dodo(business_id: str, base_url: str, webhooks: bool) -> None:
        """Key in DODO_PAYMENTS_API_KEY; webhook secret, where one was set up by hand, in DODO_PAYMENTS_WEBHOOK_KEY."""
        key = os.environ.get("DODO_PAYMENTS_API_KEY", "").strip()
        if not key:
            raise click.ClickException("DODO_PAYMENTS_API_KEY is not set: the account's API key.")
        from dodopayments import APIError

        reach = Reach(base_url.rstrip("/"), key)
        try:
            house.outgoing.check(reach.base_url)
            api = client(house.outgoing, reach)
            api.customers.list(page_size=1)  # a key that is wrong is told before anything is kept
            _keep(house, business_id, reach)
            if webhooks:
                hooks.subscribe(house, business_id, api)
            origin = origin_of(house.database, business_id, SOURCE)
            assert origin is not None
            click.echo(json.dumps(_run(Reader(house.database, house.settings, api, business_id, origin))))
        except APIError as refused:
            note_failure(house.database, business_id, SOURCE, why(refused))
            raise click.ClickException(f"the account says: {refused.message}. What was read is kept; run it again to go on.") from None
        except Refused as refused:
            raise click.ClickException(f"{base_url}: {refused}") from None
        except PortalError as wrong:
            raise click.ClickException(wrong.sentence) from None

    app.cli.add_command(group)


def _keep(house: House, business_id: str, reach: Reach) -> None:
    with house.database.open(system(business_id), write=True) as db:
        read.business(db, business_id)
        connect(db, house.settings, business_id, SOURCE, base_url=reach.base_url, api_key=reach.api_key,
                webhook_key=os.environ.get("DODO_PAYMENTS_WEBHOOK_KEY", "").strip() or None)


def _run(reader: Reader) -> dict[str, int]:
    err = click.get_text_stream("stderr")
    seen: dict[str, int] = {}
    with click.progressbar(length=1, label="Pulling", file=err, show_eta=False, item_show_func=lambda one: one or "") as bar:

        def told(name: str, rows: int) -> None:
            if seen.get(name) != rows:
                seen[name] = rows
                bar.update(0, f"{rows} {name}")
                if not err.isatty():
                    click.echo(f"{name}: {rows}", file=err)

        counts = pull(reader, told)
        bar.update(1, "done")
    return {"new": counts.new, "changed": counts.changed, "same": counts.same, "left_out": reader.skipped}
