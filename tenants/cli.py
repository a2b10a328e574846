"""`flask --app wsgi business …`: begin a business from the shell, or give it one more key. Prints one JSON object."""

from __future__ import annotations

import json

import click
from flask import Flask
from flask.cli import AppGroup

from billing.commands.archiving import reopen_business
from billing.commands.businesses import create_business
from billing.commands.tax_rates import set_tax_rate
from billing.queries import api as read
from billing.taxes import CODES
from core.errors import PortalError
from core.scope import everything, system
from core.web import House
from tenants.joining import invite
from tenants.keys import new_key
from tenants.letters import tell_owners
from tenants.loading import cli as importing


def register(app: Flask, house: House) -> None:
    importing.register(app, house)
    group = AppGroup("business", help="Businesses of this deployment.")

    @group.command("new")
    @click.option("--name", required=True, help="What customers know it by.")
    @click.option("--currency", required=True, help="ISO 4217 code, as EUR.")
    @click.option("--zone", default="UTC", show_default=True, help="Where its days begin, as Europe/Berlin.")
    @click.option("--locale", default="en", show_default=True)
    @click.option("--support-email", default="")
    @click.option("--owner", default="", help="Address of who owns it; they accept under /console, signed in with it.")
    def new(name: str, currency: str, zone: str, locale: str, support_email: str, owner: str) -> None:
        """Begin a business; prints business_id, api_key (shown only now), static_link and console."""
        with _spoken(), house.database.open(everything(why="business new"), write=True) as db:
            business = create_business(db, name=name, currency=currency.upper(), zone=zone, locale=locale, support_email=support_email)
            db.flush()
            _row, secret = new_key(db, business.business_id, "First key", settings=house.settings)
            business_id = business.business_id
            if owner:
                invite(db, business_id, owner, "owner")
        base = house.settings.base_url
        _say(business_id=business_id, api_key=secret, static_link=f"{base}/login/{business_id}", console=f"{base}/console/{business_id}")

    @group.command("key")
    @click.option("--business", "business_id", required=True)
    @click.option("--name", default="Another key", show_default=True)
    @click.option("--read-only", is_flag=True)
    def key(business_id: str, name: str, read_only: bool) -> None:
        """Give a business one more API key; prints key_id and api_key."""
        with _spoken(), house.database.open(everything(why="business key"), write=True) as db:
            read.business(db, business_id)
            row, secret = new_key(db, business_id, name, read_only, settings=house.settings)
            key_id = row.id
        _say(key_id=key_id, api_key=secret)

    @group.command("owner")
    @click.option("--business", "business_id", required=True)
    @click.option("--email", required=True, help="Who owns it too; they accept under /console, signed in with it.")
    def owner_of(business_id: str, email: str) -> None:
        """Ask one more person to own a business: the way back in when its owners are gone. Prints invitation_id."""
        with _spoken(), house.database.open(everything(why="business owner"), write=True) as db:
            read.business(db, business_id)
            invitation_id = invite(db, business_id, email, "owner").id
        _say(invitation_id=invitation_id)

    @group.command("tax")
    @click.option("--business", "business_id", required=True)
    @click.option("--country", required=True, help="Of the buyer, as DE; * for every country that has no rate of its own.")
    @click.option("--rate", required=True, type=click.FloatRange(0, 100), help="Percent, as 19.")
    @click.option("--code", type=click.Choice(sorted(CODES)), help="VAT category code of EN 16931; S or Z by the rate, unless given.")
    @click.option("--reason", help="Why there is no tax: a VATEX code, or words that invoices print.")
    @click.option("--category", help="For products of this tax category alone, as e_book.")
    def tax(business_id: str, country: str, rate: float, code: str | None, reason: str | None, category: str | None) -> None:
        """Set how sales to a country are taxed, from the next invoice on. Prints tax_rates."""
        with _spoken(), house.database.open(everything(why="business tax"), write=True) as db:
            rates = set_tax_rate(db, business_id, country, round(rate * 100), code=code, reason=reason, category=category).tax_rates
        _say(tax_rates=rates)


    @group.command("reopen")
    @click.option("--business", "business_id", required=True)
    def reopen(business_id: str) -> None:
        """Open a closed business again; prints business_id and reopened (false: it was open). Nobody pays for the time it was closed."""
        with _spoken():
            with house.database.open(everything(why="business reopen: is it closed")) as db:
                was_closed = read.business(db, business_id).archived_at is not None
            with house.database.open(system(business_id), write=True) as db:
                reopen_business(db, business_id)
                if was_closed:
                    tell_owners(db, "rules_changed", "reopened")
        _say(business_id=business_id, reopened=was_closed)

    app.cli.add_command(group)


class _spoken:
    """An error of ours as a sentence and exit code 1, instead of a traceback."""

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, PortalError):
            raise click.ClickException("; ".join((error.sentence, *(f"{name}: {text}" for name, text in error.fields.items()))))


def _say(**values: object) -> None:
    click.echo(json.dumps(values))
