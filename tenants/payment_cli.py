"""`flask --app wsgi processors`: the payment accounts of every business and their health, for operators."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TextIO

import click
from sqlalchemy import select

from billing.charging.method_moves import AccountPair, BadLines, move_methods, read_lines
from billing.model.parties import Business
from billing.model.payment_accounts import PaymentAccount, PaymentAccountDetails
from core.errors import PortalError
from core.scope import everything
from core.services import Services

if TYPE_CHECKING:
    from flask import Flask


def register(app: Flask, services: Services) -> None:
    @app.cli.group("processors", invoke_without_command=True)
    @click.pass_context
    def processors(context: click.Context) -> None:
        """Print each payment account as one JSON object: business, kind, state, currencies and health. It prints no secret."""
        if context.invoked_subcommand:
            return
        with services.database.open(everything("flask processors")) as db:
            found = db.execute(
                select(Business.name, PaymentAccount, PaymentAccountDetails)
                .join(PaymentAccount, PaymentAccount.business_id == Business.business_id)
                .join(
                    PaymentAccountDetails,
                    (PaymentAccountDetails.business_id == PaymentAccount.business_id) & (PaymentAccountDetails.id == PaymentAccount.id),
                )
                .order_by(Business.name, PaymentAccount.created_at, PaymentAccount.id)
            ).all()
        for name, account, details in found:
            moments = {item: getattr(details, item) for item in ("last_answer_at", "last_event_at", "last_failure_at")}
            line = {
                "business_id": account.business_id,
                "business": name,
                "account_id": account.id,
                "kind": account.kind,
                "available": account.kind in services.processor.accounts.kinds,
                "label": details.label,
                "state": account.state,
                "default": account.is_default,
                "default_currencies": account.default_currencies or [],
                "currencies": account.currencies,
                "external_id": details.external_id,
                "api_version": details.api_version,
                "has_webhook_secret": bool(details.sealed_webhook_secret),
                **{item: at.isoformat() if at else None for item, at in moments.items()},
                "last_failure": details.last_failure,
            }
            click.echo(json.dumps(line, ensure_ascii=False))

    @processors.command("move-methods")
    @click.argument("file", type=click.File(encoding="utf-8"))
    @click.option("--business", "business_id", required=True, help="Id of the business (bus_…).")
    @click.option("--from", "old", required=True, help="Id of the account that the methods are saved at (pac_…).")
    @click.option("--to", "new", required=True, help="Id of the account that has them now (pac_…).")
    def move(file: TextIO, business_id: str, old: str, new: str) -> None:
        """Move saved payment methods to another account. FILE: JSON lines or CSV with the references `old` and `new`; all or nothing."""
        try:
            moved, before = move_methods(services.processor, AccountPair(business_id, old, new), read_lines(file.read()))
        except BadLines as bad:
            for number, sentence in bad.problems:
                click.echo(f"line {number}: {sentence}", err=True)
            raise click.ClickException("Nothing was moved.") from bad
        except PortalError as refused:
            raise click.ClickException(f"{refused.sentence} Nothing was moved.") from refused
        click.echo(json.dumps({"moved": moved, "moved_before": before}))
