"""Replaces the key of a payment account and the secret of its webhook.

A replaced webhook secret stays valid until the first notification with the new one, for at most 24 hours. Stripe signs with both secrets
for up to 24 hours after one was rolled, and sends what was signed before again. A notification is a hint, so that an old secret cannot
move money.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import and_, select

from billing.charging.account_ports import AccountReport
from billing.charging.payment_accounts import emit_about, load_account, read_account, seal_secret
from billing.charging.payment_processors import PaymentProcessors
from billing.charging.ports import AccountAccess
from billing.charging.processor_reports import Notification
from billing.model.payment_accounts import PaymentAccount, PaymentAccountDetails
from billing.model.payments import Payment, PaymentMethod
from core import clock
from core.db import ScopedSession
from core.errors import N_, Conflict, Invalid, Unauthorized
from core.scope import system

FORMER_VALID = timedelta(hours=24)


@dataclass(frozen=True)
class KeyForm:
    """`webhook_secret` may be empty: then it is not replaced."""

    secret_key: str = field(repr=False)
    webhook_secret: str = field(default="", repr=False)


def check_key(accounts: PaymentProcessors, business_id: str, account_id: str, form: KeyForm) -> AccountReport:
    """Ask the processor about the new key. Makes a network call: call it outside of transactions.

    Raises NotFound, Invalid (secret_key) for a key of another account or mode, and PortalError if the processor does not answer.
    """
    with accounts.database.open(system(business_id)) as db:
        row, details = read_account(db, account_id)
        is_used = _is_used(db, account_id)
    if row.state == "closed" or row.kind not in accounts.kinds:
        raise Conflict("UNSUPPORTED_ACTION", N_("This account is closed."))
    access = AccountAccess(row.id, business_id, live=not accounts.settings.is_test, secret_key=form.secret_key.strip())
    report = accounts.kinds[row.kind].check(access)
    if not report.external_id:
        raise Invalid(fields={"secret_key": N_("Allow the key to read the account, so that we can see that it is the same account.")})
    if report.external_id != details.external_id and (details.external_id or is_used):
        raise Invalid(fields={"secret_key": N_("This key belongs to another account. Connect that account as a new one.")})
    return report


def replace_key(accounts: PaymentProcessors, db: ScopedSession, account_id: str, form: KeyForm, report: AccountReport) -> None:
    """Store a checked key, and the new webhook secret if there is one. Raises NotFound, Conflict."""
    row, details = load_account(db, account_id)
    if row.state == "closed":
        raise Conflict("UNSUPPORTED_ACTION", N_("This account is closed."))
    if report.external_id != details.external_id and _is_connected(db, row, report.external_id):
        raise Conflict("PAYMENT_ACCOUNT_CONNECTED", N_("This account is already connected."))
    details.sealed_key = seal_secret(accounts.settings.secret_keys, row.id, "key", form.secret_key)
    details.key_set_at, details.external_id, details.api_version = clock.wall(), report.external_id, report.api_version
    row.currencies = list(report.currencies) or row.currencies
    if form.webhook_secret.strip():
        _replace_secret(accounts, row, details, form.webhook_secret)
    emit_about(db, "payment_account.key_replaced", row)


def replace_webhook_secret(accounts: PaymentProcessors, db: ScopedSession, account_id: str, secret: str) -> None:
    """Replace the secret that verifies the account's notifications. Raises NotFound, Invalid (webhook_secret)."""
    row, details = load_account(db, account_id)
    if not secret.strip():
        raise Invalid(fields={"webhook_secret": N_("Enter the signing secret.")})
    _replace_secret(accounts, row, details, secret)
    emit_about(db, "payment_account.changed", row)


def _replace_secret(accounts: PaymentProcessors, row: PaymentAccount, details: PaymentAccountDetails, secret: str) -> None:
    if accounts.access(details).webhook_secret == secret.strip():
        return
    if details.sealed_webhook_secret:
        details.sealed_former_webhook_secret = details.sealed_webhook_secret
        details.former_webhook_secret_until = clock.wall() + FORMER_VALID
    details.sealed_webhook_secret = seal_secret(accounts.settings.secret_keys, row.id, "webhook", secret)


def read_notification(
    accounts: PaymentProcessors, business_id: str, account_id: str, headers: Mapping[str, str], body: bytes
) -> Notification:
    """Verify a notification with the account's secret, or with the one before while it is valid. Raises Unauthorized."""
    try:
        hint = accounts.of(business_id, account_id).read_notification(headers, body)
    except Unauthorized:
        former = accounts.with_former_webhook_secret(business_id, account_id)
        if former is None:
            raise
        return former.read_notification(headers, body)
    _forget_former_secret(accounts, business_id, account_id)
    return hint


def _forget_former_secret(accounts: PaymentProcessors, business_id: str, account_id: str) -> None:
    with accounts.database.open(system(business_id)) as db:
        row = db.scalar(select(PaymentAccountDetails).where(PaymentAccountDetails.id == account_id))
    if row is None or not row.sealed_former_webhook_secret:
        return
    with accounts.database.open(system(business_id), write=True) as db:
        _row, details = load_account(db, account_id)
        if details.sealed_webhook_secret == row.sealed_webhook_secret:  # it was not replaced again meanwhile
            details.sealed_former_webhook_secret = details.former_webhook_secret_until = None


def _is_connected(db: ScopedSession, row: PaymentAccount, external_id: str) -> bool:
    """Return whether another open account of the business has this id at the processor."""
    same = and_(PaymentAccount.business_id == PaymentAccountDetails.business_id, PaymentAccount.id == PaymentAccountDetails.id)
    others = select(PaymentAccount.id).join(PaymentAccountDetails, same)
    where = (PaymentAccount.id != row.id, PaymentAccount.kind == row.kind, PaymentAccount.state != "closed")
    return db.scalar(others.where(*where, PaymentAccountDetails.external_id == external_id).limit(1)) is not None


def _is_used(db: ScopedSession, account_id: str) -> bool:
    """Return whether payments were made, or methods saved, at the account."""
    payment = select(Payment.id).where(Payment.payment_account_id == account_id).limit(1)
    method = select(PaymentMethod.id).where(PaymentMethod.payment_account_id == account_id).limit(1)
    return db.scalar(payment) is not None or db.scalar(method) is not None
