"""`flask --app wsgi check [--json]`: the checks of `core/checks`, and checks of encrypted secrets, documents and billing.

Exit code 0: all checks passed; 1: some failed; 2: the settings cannot be read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import click
from flask import Flask
from sqlalchemy import func, select

from auth.oidc_client.models import Connection
from auth.oidc_client.provider_config import secret_purpose
from auth.oidc_server import keys as signing
from auth.oidc_server.models import SigningKey
from billing.charging.payment_processors import purpose as account_purpose
from billing.documents import render_invoice
from billing.external.port import UNDECIDED
from billing.model.lifecycle import LIVE
from billing.model.payment_accounts import PaymentAccountDetails, takes_charges
from billing.model.subscriptions import Subscription
from core import clock
from core.checks import Finding, machine, mail_domain, ok, smtp, unknown, wrong
from core.checks import database as stored
from core.checks import settings as configured
from core.db import Database
from core.encryption import Unreadable, unseal
from core.recurring_jobs import JobFailure
from core.scope import everything
from core.settings import Settings
from tenants.external import account
from tenants.webhooks import secrets
from tenants.webhooks.models import Endpoint

ENV_FILE = Path(__file__).resolve().parent.parent / ".env"


def register(app: Flask, settings: Settings) -> None:
    @app.cli.command("check")
    @click.option("--json", "as_json", is_flag=True, help="Print the findings as a JSON list.")
    def check(as_json: bool) -> None:
        """Check the deployment before going live. Changes nothing and sends nothing."""
        found = list(findings(settings))
        bad = sum(item.state == "wrong" for item in found)
        if as_json:
            click.echo(json.dumps([asdict(item) for item in found], indent=1))
        else:
            for item in found:
                click.echo(item.line)
            click.echo(f"{bad} of {len(found)} checks failed." if bad else "All checks passed.")
        raise SystemExit(1 if bad else 0)


def findings(settings: Settings) -> Iterator[Finding]:
    """Yield every finding, in order. A check that raises an exception is a finding as well."""
    parts: dict[str, Callable[[], list[Finding]]] = {
        "mode and base URL": lambda: configured.mode_and_url(settings),
        "secrets": lambda: configured.secrets(settings),
        "proxies": lambda: configured.proxies(settings),
        "settings file": lambda: configured.settings_file(ENV_FILE),
        "mail domain": lambda: mail_domain.mail_domain(settings, mail_domain.resolver()),
        "mail server": lambda: smtp.mail_server(settings),
        "disk": lambda: machine.disk(settings.data_dir),
        "PDF documents": documents,
        "database": lambda: _check_database(settings),
    }
    for name, part in parts.items():
        try:
            yield from part()
        except Exception as broken:  # the message may contain a password
            yield wrong(name, f"the check failed ({type(broken).__name__})", "report this as a bug")


def _check_database(settings: Settings) -> list[Finding]:
    unreachable = stored.reachable(settings)
    if unreachable is not None:
        return [
            *_check_pooler(settings),
            unreachable,
            unknown("roles, schema, clock, worker, sealed secrets", "the database does not answer"),
        ]
    database = Database(settings)
    try:
        pooler = stored.poolers(database)
        if any(item.state == "wrong" for item in pooler):
            return [*pooler, unknown("roles, schema, clock, worker, sealed secrets", "the pooler breaks their queries")]
        answers = ok("database", "SQLite: one machine, one process" if settings.is_sqlite else "PostgreSQL answers")
        found = [*pooler, answers, *_roles(database)]
        schema = stored.schema_and_stamp(database)
        found += [*schema, *stored.replica(database)]
        if any(item.state == "wrong" for item in schema):
            return [*found, unknown("worker, sealed secrets, subscriptions", "the schema belongs to another version")]
        found.append(stored.worker(stored.last_job(database), clock.wall()))
        return [*found, sealed(list(sealed_rows(database, settings)), settings.secret_keys), *_check_billing(database)]
    finally:
        database.dispose()


def _check_pooler(settings: Settings) -> list[Finding]:
    """Return the findings about the pooler. A pooler without transactions makes the database look unreachable."""
    if settings.is_sqlite:
        return []
    database = Database(settings)
    try:
        return stored.poolers(database)
    finally:
        database.dispose()


def _roles(database: Database) -> list[Finding]:
    if database.is_sqlite:
        return []
    role, times = stored.role_and_times(database)
    return [*stored.application_role(role), stored.owner(database.settings), stored.clocks(*times)]


def sealed_rows(database: Database, settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Yield (label, purpose, encrypted text) of every long-lived encrypted secret."""
    with database.open(everything("flask check: can the secrets be read?")) as db:
        for key in db.scalars(select(SigningKey)):
            yield "signing key", signing.purpose(key.id), key.sealed
        for connection in db.scalars(select(Connection).where(Connection.removed_at.is_(None), Connection.client_secret.is_not(None))):
            if connection.client_secret:
                yield (
                    f"secret of the sign-in provider of {connection.business_id}",
                    secret_purpose(connection.business_id, connection.id),
                    connection.client_secret,
                )
        for row in db.scalars(select(account.ExternalAccount)):
            yield f"key of {row.id} of {row.business_id}", account.purpose("key", row.business_id, row.id), row.key_sealed
        for hook in db.scalars(select(Endpoint).where(Endpoint.removed_at.is_(None))):
            yield f"webhook of {hook.business_id}", secrets.purpose(settings, hook.id), hook.secret
        for payments in db.scalars(select(PaymentAccountDetails)):
            for name, sealed_text in (("key", payments.sealed_key), ("webhook", payments.sealed_webhook_secret)):
                if sealed_text:
                    yield f"{name} of payment account {payments.id}", account_purpose(payments.id, name), sealed_text


def sealed(rows: list[tuple[str, str, str]], keys: tuple[str, ...]) -> Finding:
    """Check that the keys of SECRET_KEY decrypt the stored secrets."""
    unreadable = []
    for label, purpose, text in rows:
        try:
            unseal(keys, purpose, text)
        except Unreadable:
            unreadable.append(label)
    if unreadable:
        return wrong(
            "sealed secrets",
            f"{len(unreadable)} of {len(rows)} cannot be decrypted: {', '.join(sorted(set(unreadable))[:3])}",
            "add the key that they were encrypted with to the end of SECRET_KEY, after a comma",
        )
    return ok("sealed secrets", f"all {len(rows)} can be decrypted")


def _check_billing(database: Database) -> list[Finding]:
    with database.open(everything("flask check: who bills subscriptions")) as db:
        query = (
            select(Subscription.collected_by, func.count())
            .where(Subscription.collected_by.in_(("us", UNDECIDED)), Subscription.status.in_(LIVE))
            .group_by(Subscription.collected_by)
        )
        by = dict(db.execute(query).tuples().all())
        failing = db.scalar(select(func.count()).select_from(JobFailure)) or 0
        ours = select(func.count()).select_from(Subscription).where(Subscription.collected_by == "us", Subscription.status.in_(LIVE))
        uncharged = db.scalar(ours.where(~takes_charges(db, Subscription))) or 0
    return collecting(by.get("us", 0), uncharged, by.get(UNDECIDED, 0), failing)


def collecting(ours: int, uncharged: int, undecided: int, failing: int) -> list[Finding]:
    """`ours`: active subscriptions billed here; `uncharged`: those without an open account; `undecided`: who bills is not decided."""
    found = []
    if uncharged:
        found.append(
            wrong(
                "subscriptions",
                f"{uncharged} are billed here, but their business has no open payment account: they are not charged",
                "connect a payment account in the console, under Settings, Payments, or import them again as billed by another system",
            )
        )
    if undecided:
        found.append(
            wrong(
                "subscriptions",
                f"{undecided} are not charged: they came from another system, and an earlier version billed them here as well",
                "choose who bills them in the console, under Sales, Subscriptions",
            )
        )
    if failing:
        found.append(wrong("recurring jobs", f"{failing} jobs keep failing", "see the console, under Sales, Subscriptions, and the log"))
    return found or [ok("subscriptions", f"{ours} are billed here")]


def documents() -> list[Finding]:
    """Render an invoice as PDF, with characters from every font package."""
    at = "2026-01-01T00:00:00+00:00"
    line = {
        "description": "株式会社 Ελένη",
        "quantity": 1,
        "unit_minor": 100,
        "net_minor": 100,
        "tax_minor": 0,
        "tax_bps": 0,
        "starts_at": None,
        "ends_at": None,
    }
    try:
        pdf = render_invoice(
            {
                "kind": "invoice",
                "number": "CHECK-1",
                "locale": "en",
                "zone": "UTC",
                "currency": "EUR",
                "issued_at": at,
                "period": None,
                "corrects": None,
                "credits": None,
                "seller": {"name": "Check", "lines": []},
                "buyer": {"name": "Check", "lines": []},
                "lines": [line],
                "subtotal_minor": 100,
                "tax": [],
                "total_minor": 100,
                "credit_applied_minor": 0,
                "due_minor": 100,
                "reason": None,
                "test_mode": True,
                "paid": {"state": "open", "at": None, "method": None},
            }
        )
    except Exception as broken:  # whatever the reason, no invoice can be rendered
        return [
            wrong(
                "PDF documents",
                f"an invoice cannot be rendered ({type(broken).__name__})",
                "install the packages of requirements.txt again",
            )
        ]
    return [ok("PDF documents", f"an invoice was rendered ({len(pdf) // 1000} kB)")]
