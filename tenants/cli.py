"""`flask --app wsgi business …`: create and manage businesses from the shell. Each command prints one JSON object."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TextIO

import click
from flask import Flask
from flask.cli import AppGroup
from pydantic import ValidationError

from billing.customers.archive_business import reopen_business
from billing.customers.businesses import create_business
from billing.customers.tax_rates import set_tax_rate
from billing.customers.tax_settings import replace_setup
from billing.history import api_lists as read
from billing.pricing.tax_setup import setup_of, to_rates
from billing.pricing.taxes import CODES
from core.errors import PortalError
from core.scope import everything, system
from core.services import Services
from tenants.api.taxes import TaxSetup
from tenants.api_keys import new_key
from tenants.emails import notify_owners
from tenants.imports import cli as importing
from tenants.memberships import invite

MAX_SETUP = 1024 * 1024  # characters of a file


def register(app: Flask, services: Services) -> None:
    importing.register(app, services)
    group = AppGroup("business", help="Manage the businesses of this deployment.")
    _add_business_commands(group, services)
    _add_access_commands(group, services)
    _add_tax_command(group, services)
    _add_taxes_command(group, services)
    app.cli.add_command(group)


def _add_business_commands(group: AppGroup, services: Services) -> None:
    @group.command("new")
    @click.option("--name", required=True, help="Name that customers see.")
    @click.option("--currency", required=True, help="ISO 4217 code, such as EUR.")
    @click.option("--zone", default="UTC", show_default=True, help="Time zone, such as Europe/Berlin.")
    @click.option("--locale", default="en", show_default=True)
    @click.option("--support-email", default="")
    @click.option("--owner", default="", help="Email of the owner. They are invited, sign in with it and accept in the console.")
    def new(name: str, currency: str, zone: str, locale: str, support_email: str, owner: str) -> None:
        """Create a business. Prints business_id, api_key (shown only now), static_link and console."""
        with _click_errors(), services.database.open(everything(why="business new"), write=True) as db:
            business = create_business(db, name=name, currency=currency.upper(), zone=zone, locale=locale, support_email=support_email)
            db.flush()
            _row, secret = new_key(db, business.business_id, "First key", settings=services.settings)
            business_id = business.business_id
            if owner:
                invite(db, business_id, owner, "owner")
        base = services.settings.base_url
        _print(business_id=business_id, api_key=secret, static_link=f"{base}/login/{business_id}", console=f"{base}/console/{business_id}")

    @group.command("reopen")
    @click.option("--business", "business_id", required=True)
    def reopen(business_id: str) -> None:
        """Reopen a closed business. Prints business_id and reopened (false if it was open). Closed time is not billed."""
        with _click_errors():
            with services.database.open(everything(why="business reopen: is it closed")) as db:
                was_closed = read.business(db, business_id).archived_at is not None
            with services.database.open(system(business_id), write=True) as db:
                reopen_business(db, business_id)
                if was_closed:
                    notify_owners(db, "rules_changed", "reopened")
        _print(business_id=business_id, reopened=was_closed)


def _add_access_commands(group: AppGroup, services: Services) -> None:
    @group.command("key")
    @click.option("--business", "business_id", required=True)
    @click.option("--name", default="Another key", show_default=True)
    @click.option("--read-only", is_flag=True)
    def key(business_id: str, name: str, read_only: bool) -> None:
        """Create another API key for a business. Prints key_id and api_key."""
        with _click_errors(), services.database.open(everything(why="business key"), write=True) as db:
            read.business(db, business_id)
            row, secret = new_key(db, business_id, name, read_only, settings=services.settings)
            key_id = row.id
        _print(key_id=key_id, api_key=secret)

    @group.command("owner")
    @click.option("--business", "business_id", required=True)
    @click.option("--email", required=True, help="Email of the new owner. They sign in with it and accept in the console.")
    def owner(business_id: str, email: str) -> None:
        """Invite another owner, for example after all owners left. Prints invitation_id."""
        with _click_errors(), services.database.open(everything(why="business owner"), write=True) as db:
            read.business(db, business_id)
            invitation_id = invite(db, business_id, email, "owner").id
        _print(invitation_id=invitation_id)


def _add_tax_command(group: AppGroup, services: Services) -> None:
    @group.command("tax")
    @click.option("--business", "business_id", required=True)
    @click.option("--country", required=True, help="Country of the customer, such as DE; * for every country without its own rate.")
    @click.option("--rate", required=True, type=click.FloatRange(0, 100), help="Tax rate in percent, such as 19.")
    @click.option("--code", type=click.Choice(sorted(CODES)), help="VAT category code of EN 16931. Default: S, or Z if the rate is 0.")
    @click.option("--reason", help="Reason why there is no tax: a VATEX code, or text for the invoices.")
    @click.option("--category", help="Only for products of this tax category, such as e_book.")
    @click.option("--from", "begins", type=click.DateTime(["%Y-%m-%d"]), help="First day of the rate, such as 2027-01-01. Default: always.")
    def tax(business_id: str, country: str, rate: float, begins: datetime | None, **treatment: str | None) -> None:
        """Set the tax rate of sales to a country, from the next invoice on. Prints tax_rates."""
        with _click_errors(), services.database.open(everything(why="business tax"), write=True) as db:
            day = begins.date().isoformat() if begins else None
            business = set_tax_rate(db, business_id, country, round(rate * 100), valid_from=day, **treatment)
            setup = setup_of(business)
        dated = [row for row in setup.get("rates", ()) if row.get("valid_from")]
        _print(tax_rates=to_rates(setup), **({"dated": dated} if dated else {}))


def _add_taxes_command(group: AppGroup, services: Services) -> None:
    @group.command("taxes")
    @click.argument("file", type=click.File(encoding="utf-8"))
    @click.option("--business", "business_id", required=True)
    def taxes(file: TextIO, business_id: str) -> None:
        """Import the whole tax set-up of a business from a JSON file, as `PUT /api/tax-settings` takes it. Prints the set-up."""
        try:
            sent = TaxSetup.model_validate_json(file.read(MAX_SETUP))
        except ValidationError as wrong:
            places = (f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in wrong.errors()[:20])
            raise click.ClickException("; ".join(places)) from None
        with _click_errors(), services.database.open(everything(why="business taxes"), write=True) as db:
            read.business(db, business_id)
        with _click_errors(), services.database.open(system(business_id), write=True) as db:
            setup = dict(setup_of(replace_setup(db, sent.model_dump())))
        _print(tax_setup=setup)


class _click_errors:
    """Print a PortalError as a message with exit code 1 instead of a traceback."""

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, PortalError):
            raise click.ClickException("; ".join((error.sentence, *(f"{name}: {text}" for name, text in error.fields.items()))))


def _print(**values: object) -> None:
    click.echo(json.dumps(values))
