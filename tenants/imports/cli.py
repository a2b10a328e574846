"""`flask --app wsgi import FILE --business ID`: import a JSON Lines file in the shapes of the API (docs/importing.md)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from flask import Flask

from billing.history import api_lists as read
from core.csv_text import csv_text
from core.errors import Invalid, PortalError
from core.scope import system
from core.services import Services
from tenants.external.account import origin_of
from tenants.imports.existing_rows import imported_ids
from tenants.imports.import_file import Checked, check, write


def register(app: Flask, services: Services) -> None:
    @app.cli.command("import")
    @click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
    @click.option("--business", "business_id", required=True, help="The business to import into.")
    @click.option("--source", default="import", show_default=True, help="Name of the system that the data comes from.")
    @click.option("--check-only", is_flag=True, help="Check every line without writing anything.")
    def import_(file: Path, business_id: str, source: str, check_only: bool) -> None:
        """Import customers, products, subscriptions, payments, refunds and license keys. Safe to repeat."""
        if not source.isascii() or not source.replace("-", "").isalnum() or source in ("us", "dodo") or len(source) > 40:
            raise click.ClickException("--source may contain letters, digits and hyphens, and must not be 'us' or 'dodo'.")
        size = file.stat().st_size
        try:
            with services.database.open(system(business_id)) as db:
                read.business(db, business_id)
            with click.progressbar(length=size, label="Checking", file=sys.stderr) as bar:
                found = check(services.database, business_id, file, bar.update, source)
            if check_only:
                click.echo(json.dumps({"lines": found.lines, **found.kinds, **_report_ignored(found)}))
                return
            with click.progressbar(length=size * len(found.order), label="Writing", file=sys.stderr) as bar:
                counts = write(services.database, services.settings, business_id, source, file, found, progress=bar.update)
        except Invalid as error:
            errors = "\n".join(f"{name}: {why}" for name, why in error.fields.items()) or error.sentence
            raise click.ClickException(f"Nothing was written.\n{errors}") from None
        except PortalError as error:
            raise click.ClickException(error.sentence) from None
        except OSError as error:
            raise click.ClickException(f"Cannot read {file.name}: {error}") from None
        click.echo(json.dumps({"lines": found.lines, "new": counts.new, "same": counts.same, **_report_ignored(found)}))

    @app.cli.command("references")
    @click.option("--business", "business_id", required=True, help="The business to import into.")
    @click.option("--source", default="import", show_default=True, help="The --source of the import, or 'dodo' for a pull.")
    def references(business_id: str, source: str) -> None:
        """Print the id of each imported row as CSV: type, reference (its id in the source), id."""
        account_id: str | None = source
        if source == "dodo":
            found = origin_of(services.database, business_id, source)
            account_id = found.account_id if found else None
        if account_id is None:
            raise click.ClickException("This business is not connected to that system.")
        click.echo(csv_text([("type", "reference", "id"), *imported_ids(services.database, business_id, account_id)]), nl=False)


def _report_ignored(found: Checked) -> dict[str, dict[str, int]]:
    """Return the ignored fields for the report, and print a warning for each."""
    for name, count in sorted(found.ignored.items()):
        click.echo(f"warning: {name} was ignored in {count} lines.", err=True)
    return {"ignored": dict(sorted(found.ignored.items()))} if found.ignored else {}
