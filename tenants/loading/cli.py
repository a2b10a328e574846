"""`flask --app wsgi import FILE --business ID`: a file of JSON Lines in the API's own shapes (docs/importing.md)."""

from __future__ import annotations

import json
from pathlib import Path

import click
from flask import Flask

from billing.queries import api as read
from core.csv_text import csv_text
from core.errors import Invalid, PortalError
from core.scope import system
from core.web import House
from tenants.elsewhere.account import origin_of
from tenants.loading.importing import check, write
from tenants.loading.known import told


def register(app: Flask, house: House) -> None:
    @app.cli.command("import")
    @click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
    @click.option("--business", "business_id", required=True, help="Whose data it is.")
    @click.option("--source", default="import", show_default=True, help="What the system is called that it comes from.")
    @click.option("--check-only", is_flag=True, help="Read and check every line, and write nothing.")
    def import_(file: Path, business_id: str, source: str, check_only: bool) -> None:
        """Load customers, products, subscriptions, payments, refunds and licence keys. Safe to repeat."""
        if not source.isascii() or not source.replace("-", "").isalnum() or source in ("us", "dodo") or len(source) > 40:
            raise click.ClickException("--source is a word of letters, digits and dashes, and neither 'us' nor 'dodo'.")
        size = file.stat().st_size
        try:
            with house.database.open(system(business_id)) as db:
                read.business(db, business_id)
            with click.progressbar(length=size, label="Checking", file=_err()) as bar:
                found = check(house.database, business_id, file, bar.update, source)
            if check_only:
                click.echo(json.dumps({"lines": found.lines, **found.kinds}))
                return
            with click.progressbar(length=size * len(found.order), label="Writing", file=_err()) as bar:
                counts = write(house.database, house.settings, business_id, source, file, found, bar.update)
        except Invalid as wrong:
            said = "\n".join(f"{name}: {why}" for name, why in wrong.fields.items()) or wrong.sentence
            raise click.ClickException(f"nothing was written.\n{said}") from None
        except PortalError as wrong:
            raise click.ClickException(wrong.sentence) from None
        except OSError as broken:
            raise click.ClickException(f"{file.name} cannot be read: {broken}") from None
        click.echo(json.dumps({"lines": found.lines, "new": counts.new, "same": counts.same}))

    @app.cli.command("references")
    @click.option("--business", "business_id", required=True, help="Whose data it is.")
    @click.option("--source", default="import", show_default=True, help="As it was said when the file was imported; 'dodo' for a pull.")
    def references(business_id: str, source: str) -> None:
        """Print as CSV which id here each loaded row was given: type, reference (its id at the source), id."""
        account_id: str | None = source
        if source == "dodo":
            found = origin_of(house.database, business_id, source)
            account_id = found.account_id if found else None
        if account_id is None:
            raise click.ClickException("this business has no account there.")
        click.echo(csv_text([("type", "reference", "id"), *told(house.database, business_id, account_id)]), nl=False)


def _err():  # type: ignore[no-untyped-def]
    return click.get_text_stream("stderr")
