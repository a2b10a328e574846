"""`flask --app wsgi processors`: the payment accounts of every business and their health, for operators."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from sqlalchemy import select

from billing.model.parties import Business
from billing.model.payment_accounts import PaymentAccount, PaymentAccountDetails
from core.scope import everything
from core.services import Services

if TYPE_CHECKING:
    from flask import Flask


def register(app: Flask, services: Services) -> None:
    @app.cli.command("processors")
    def processors() -> None:
        """Print each payment account as one JSON object: business, kind, state, currencies and health. It prints no secret."""
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
                "currencies": account.currencies,
                "external_id": details.external_id,
                "api_version": details.api_version,
                "has_webhook_secret": bool(details.sealed_webhook_secret),
                **{item: at.isoformat() if at else None for item, at in moments.items()},
                "last_failure": details.last_failure,
            }
            click.echo(json.dumps(line, ensure_ascii=False))
