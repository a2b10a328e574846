"""Connects, changes and closes the payment accounts of a business. Lifecycle: `billing/model/lifecycle.PAYMENT_ACCOUNT`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import func, select, update

from billing.charging.account_ports import AccountReport
from billing.charging.payment_processors import PaymentProcessors, purpose
from billing.charging.ports import AccountAccess
from billing.model import lifecycle
from billing.model.lifecycle import LIVE
from billing.model.parties import Business
from billing.model.payment_accounts import PaymentAccount, PaymentAccountDetails
from billing.model.payments import Payment, PaymentMethod, Refund
from billing.model.subscriptions import Subscription
from billing.pricing.tax_setup import hosted_account
from core import clock, encryption
from core.currencies import CURRENCIES
from core.db import ScopedSession
from core.errors import N_, Conflict, Invalid, NotFound
from core.ids import new_id
from core.money import DISPUTED
from core.outbox import emit

MAX_LABEL = 80


@dataclass(frozen=True)
class AccountForm:
    """The form to connect an account. Its secrets are stored encrypted and never shown again."""

    kind: str
    label: str
    secret_key: str = field(default="", repr=False)
    webhook_secret: str = field(default="", repr=False)


def accounts_of(db: ScopedSession) -> list[tuple[PaymentAccount, PaymentAccountDetails]]:
    """Return the accounts of the session's business, those that take charges first, then the newest."""
    rows = db.execute(
        select(PaymentAccount, PaymentAccountDetails)
        .join(
            PaymentAccountDetails,
            (PaymentAccountDetails.business_id == PaymentAccount.business_id) & (PaymentAccountDetails.id == PaymentAccount.id),
        )
        .order_by(PaymentAccount.state != "open", PaymentAccount.is_default.desc(), PaymentAccount.created_at.desc(), PaymentAccount.id)
    )
    return list(rows.tuples())


def check_account(accounts: PaymentProcessors, business_id: str, form: AccountForm) -> AccountReport:
    """Ask the processor about the key. Makes a network call: call it outside of transactions.

    Raises Invalid (fields kind, label, secret_key), and PortalError if the processor does not answer.
    """
    label = " ".join(form.label.split())
    wrong = {}
    if form.kind not in accounts.kinds:
        wrong["kind"] = N_("Choose a payment processor.")
    if not 0 < len(label) <= MAX_LABEL:
        wrong["label"] = N_("Enter a label of 1 to 80 characters.")
    if wrong:
        raise Invalid(fields=wrong)
    access = AccountAccess(
        id="", business_id=business_id, live=not accounts.settings.is_test,
        secret_key=form.secret_key.strip(), webhook_secret=form.webhook_secret.strip(),
    )  # fmt: skip
    return accounts.kinds[form.kind].check(access)


def connect_account(accounts: PaymentProcessors, db: ScopedSession, form: AccountForm, report: AccountReport) -> PaymentAccount:
    """Add a checked account. The first one that takes charges is the default. Raises Conflict if it is connected already."""
    business_id = db.scope.business or ""
    lock_accounts(db)
    known = select(PaymentAccountDetails.id).join(
        PaymentAccount, (PaymentAccount.business_id == PaymentAccountDetails.business_id) & (PaymentAccount.id == PaymentAccountDetails.id)
    )
    same = (PaymentAccount.kind == form.kind, PaymentAccountDetails.external_id == report.external_id, PaymentAccount.state != "closed")
    if report.external_id and db.scalar(known.where(*same).limit(1)) is not None:
        raise Conflict("PAYMENT_ACCOUNT_CONNECTED", N_("This account is already connected."))
    keys, row_id = accounts.settings.secret_keys, new_id("pac")
    row = PaymentAccount(
        business_id=business_id, id=row_id, kind=form.kind, currencies=list(report.currencies), state="open",
        is_default=accounts.find_new(db, business_id) is None, created_at=clock.wall(),
    )  # fmt: skip
    db.add(row)
    db.flush()
    db.add(
        PaymentAccountDetails(
            business_id=business_id,
            id=row_id,
            label=" ".join(form.label.split()),
            sealed_key=seal_secret(keys, row_id, "key", form.secret_key),
            sealed_webhook_secret=seal_secret(keys, row_id, "webhook", form.webhook_secret),
            external_id=report.external_id,
            api_version=report.api_version,
        )
    )
    emit_about(db, "payment_account.connected", row)
    return row


def make_default(db: ScopedSession, account_id: str) -> PaymentAccount:
    """Use this account for payments without a saved method. Raises NotFound, Conflict (it takes no charges)."""
    row, _details = load_account(db, account_id)
    if row.state != "open":
        raise Conflict("UNSUPPORTED_ACTION", N_("This account takes no new charges."))
    if not row.is_default:
        for other in db.scalars(select(PaymentAccount).where(PaymentAccount.is_default)):
            other.is_default = False
        row.is_default = True
        emit_about(db, "payment_account.changed", row)
    return row


def set_default_currencies(db: ScopedSession, account_id: str, currencies: Sequence[str]) -> PaymentAccount:
    """Charge payments without a saved method in these currencies at this account, instead of any other one.

    Raises NotFound, Conflict (it takes no charges), Invalid (currencies: one that it does not charge).
    """
    row, _details = load_account(db, account_id)
    wanted = sorted({code.strip().upper() for code in currencies if code.strip()})
    if row.state != "open":
        raise Conflict("UNSUPPORTED_ACTION", N_("This account takes no new charges."))
    if not all(code in CURRENCIES and code not in DISPUTED and row.takes(code) for code in wanted):
        raise Invalid(fields={"currencies": N_("Enter codes of currencies that this account can charge, such as EUR, GBP.")})
    for other in db.scalars(select(PaymentAccount).where(PaymentAccount.id != row.id)):
        kept = [code for code in other.default_currencies or () if code not in wanted]
        if kept != (other.default_currencies or []):
            other.default_currencies = kept
    if wanted != (row.default_currencies or []):
        row.default_currencies = wanted
        emit_about(db, "payment_account.changed", row)
    return row


def stop_charges(db: ScopedSession, account_id: str) -> PaymentAccount:
    """Take no new charges at this account. Its open payments are settled there, or cancelled.

    Raises NotFound, Conflict.
    """
    row, _details = load_account(db, account_id)
    row.state = lifecycle.move(lifecycle.PAYMENT_ACCOUNT, row.state, "stop_charges")
    row.is_default, row.default_currencies = False, []
    other = db.scalar(select(PaymentAccount).where(PaymentAccount.state == "open").order_by(PaymentAccount.created_at.desc()).limit(1))
    if other is not None and db.scalar(select(PaymentAccount.id).where(PaymentAccount.is_default).limit(1)) is None:
        other.is_default = True
    db.execute(
        update(Payment).where(Payment.payment_account_id == row.id, Payment.is_open).values(check_at=clock.wall()),
        execution_options={"synchronize_session": False},
    )
    emit_about(db, "payment_account.charges_stopped", row)
    return row


def resume_charges(db: ScopedSession, account_id: str) -> PaymentAccount:
    """Charge at this account again. Raises NotFound, Conflict."""
    row, _details = load_account(db, account_id)
    row.state = lifecycle.move(lifecycle.PAYMENT_ACCOUNT, row.state, "resume_charges")
    row.is_default = db.scalar(select(PaymentAccount.id).where(PaymentAccount.is_default).limit(1)) is None
    emit_about(db, "payment_account.changed", row)
    return row


def close_account(db: ScopedSession, account_id: str) -> PaymentAccount:
    """End refunds at an account that takes no new charges.

    Raises NotFound, Conflict (a payment or refund is open there, or the account calculates the tax of sales).
    """
    row, _details = load_account(db, account_id)
    state = lifecycle.move(lifecycle.PAYMENT_ACCOUNT, row.state, "close")
    waiting = open_operations(db, row.id)
    if waiting:
        raise Conflict("PAYMENT_ACCOUNT_IN_USE", N_("Payments or refunds are still open at this account. Wait until they are settled."))
    if any(hosted_account(business) == row.id for business in db.scalars(select(Business))):
        raise Conflict(
            "PAYMENT_ACCOUNT_IN_USE", N_("This account calculates your tax. Choose another calculator in Settings → Taxes first.")
        )
    row.state = state
    emit_about(db, "payment_account.closed", row)
    return row


def open_operations(db: ScopedSession, account_id: str) -> int:
    """Return the number of open payments and pending refunds at the account."""
    payments = select(func.count()).select_from(Payment).where(Payment.payment_account_id == account_id, Payment.is_open)
    refunds = select(func.count()).select_from(Refund).where(Refund.payment_account_id == account_id, Refund.status == "pending")
    return (db.scalar(payments) or 0) + (db.scalar(refunds) or 0)


def paying_subscriptions(db: ScopedSession, account_id: str) -> int:
    """Return the number of subscriptions that pay with a method saved at the account."""
    return (
        db.scalar(
            select(func.count())
            .select_from(Subscription)
            .join(
                PaymentMethod,
                (PaymentMethod.business_id == Subscription.business_id) & (PaymentMethod.id == Subscription.payment_method_id),
            )
            .where(PaymentMethod.payment_account_id == account_id, Subscription.status.in_(LIVE), Subscription.collected_by == "us")
        )
        or 0
    )


def read_account(db: ScopedSession, account_id: str) -> tuple[PaymentAccount, PaymentAccountDetails]:
    """Return an account of the session's business. Raises NotFound."""
    found = next((pair for pair in accounts_of(db) if pair[0].id == account_id), None)
    if found is None:
        raise NotFound(sentence=N_("There is no such payment account."))
    return found


def load_account(db: ScopedSession, account_id: str) -> tuple[PaymentAccount, PaymentAccountDetails]:
    """Lock all accounts of the business, because at most one is the default, and return this one. Raises NotFound."""
    row = next((item for item in lock_accounts(db) if item.id == account_id), None)
    details = db.scalar(select(PaymentAccountDetails).where(PaymentAccountDetails.id == account_id))
    if row is None or details is None:
        raise NotFound(sentence=N_("There is no such payment account."))
    return row, details


def lock_accounts(db: ScopedSession) -> list[PaymentAccount]:
    return list(db.scalars(select(PaymentAccount).order_by(PaymentAccount.id).with_for_update()))


def seal_secret(keys: tuple[str, ...], account_id: str, name: str, secret: str) -> str:
    """Return a secret of an account, encrypted. `name`: key or webhook."""
    return encryption.seal(keys, purpose(account_id, name), secret.strip()) if secret.strip() else ""


def emit_about(db: ScopedSession, type: str, row: PaymentAccount) -> None:
    """Write an event about an account."""
    emit(db, type, business_id=row.business_id, noun=row.id, data={"kind": row.kind, "state": row.state})
