"""Chooses the payment account of a charge and opens the gateway of an account. The kinds of processors come from `wsgi.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import select

from billing.charging.measured_calls import Measured
from billing.charging.ports import AccountAccess, Gateway, GatewayKind
from billing.model.payment_accounts import SANDBOX, PaymentAccount, PaymentAccountDetails
from billing.model.payments import PaymentMethod
from billing.pricing.tax_port import HostedTax
from core import clock, encryption
from core.db import Database, ScopedSession
from core.errors import N_, Conflict
from core.scope import system
from core.settings import Settings

PROVIDERS = {SANDBOX: "dodo"}
"""Kind → value of `payment_provider` in the API, where the official SDK has no value of the same name."""
HEALTH_EVERY = timedelta(minutes=1)
"""The last answer and the last failure of an account are stored at most this often."""


class PaymentProcessors:
    """The payment accounts of all businesses, with the kinds of processors of this deployment."""

    def __init__(self, database: Database, settings: Settings, kinds: Mapping[str, GatewayKind]) -> None:
        self.database, self.settings, self.kinds = database, settings, kinds

    def of(self, business_id: str, payment_account_id: str | None) -> Gateway:
        """Return the gateway of an account. Opens its own session; makes no call. Raises Conflict MERCHANT_NOT_LIVE."""
        with self.database.open(system(business_id)) as db:
            account = db.scalar(select(PaymentAccount).where(PaymentAccount.id == payment_account_id))
            details = db.scalar(select(PaymentAccountDetails).where(PaymentAccountDetails.id == payment_account_id))
        if account is None or details is None or account.kind not in self.kinds:
            raise not_live()
        gateway = self.kinds[account.kind].open(self.access(details))
        return Measured(gateway)

    def taxes(self, business_id: str, payment_account_id: str) -> HostedTax | None:
        """Return the tax calculator of an account that is not closed, None if it has none. Opens its own session; makes no call."""
        with self.database.open(system(business_id)) as db:
            account = db.scalar(select(PaymentAccount).where(PaymentAccount.id == payment_account_id, PaymentAccount.state != "closed"))
            details = db.scalar(select(PaymentAccountDetails).where(PaymentAccountDetails.id == payment_account_id))
        if account is None or details is None or account.kind not in self.kinds:
            return None
        return self.kinds[account.kind].taxes(self.access(details))

    def access(self, details: PaymentAccountDetails) -> AccountAccess:
        """Return what an adapter needs to act at the account, with its secrets decrypted."""
        return AccountAccess(
            id=details.id,
            business_id=details.business_id,
            live=not self.settings.is_test,
            secret_key=self._unseal(details, "key", details.sealed_key),
            webhook_secret=self._unseal(details, "webhook", details.sealed_webhook_secret),
            external_id=details.external_id,
            api_version=details.api_version,
        )

    def with_former_webhook_secret(self, business_id: str, payment_account_id: str) -> Gateway | None:
        """Return the gateway of an account with the webhook secret that was replaced, None if there is none that is still valid."""
        with self.database.open(system(business_id)) as db:
            account = db.scalar(select(PaymentAccount).where(PaymentAccount.id == payment_account_id))
            details = db.scalar(select(PaymentAccountDetails).where(PaymentAccountDetails.id == payment_account_id))
        until = details.former_webhook_secret_until if details else None
        if account is None or details is None or not details.sealed_former_webhook_secret or until is None or until <= clock.wall():
            return None
        secret = self._unseal(details, "webhook", details.sealed_former_webhook_secret)
        return self.kinds[account.kind].open(replace(self.access(details), webhook_secret=secret))

    def _unseal(self, details: PaymentAccountDetails, name: str, sealed: str) -> str:
        return encryption.unseal(self.settings.secret_keys, purpose(details.id, name), sealed) if sealed else ""

    def find_new(self, db: ScopedSession, business_id: str, currency: str | None = None) -> PaymentAccount | None:
        """Return the account for payments without a saved method.

        It is the default of the currency, else the default of all currencies, else the newest; always one that has the currency.
        """
        found = db.scalars(
            select(PaymentAccount)
            .where(PaymentAccount.business_id == business_id, PaymentAccount.state == "open", PaymentAccount.kind.in_(list(self.kinds)))
            .order_by(PaymentAccount.is_default.desc(), PaymentAccount.created_at.desc(), PaymentAccount.id)
        )
        able = [row for row in found if currency is None or row.takes(currency)]
        return next((row for row in able if currency in (row.default_currencies or ())), able[0] if able else None)

    def for_new(self, db: ScopedSession, business_id: str, currency: str | None = None) -> PaymentAccount:
        """Return the account for payments without a saved method. Raises Conflict MERCHANT_NOT_LIVE, in words, if there is none."""
        account = self.find_new(db, business_id, currency)
        if account is None:
            raise not_live()
        return account

    def for_method(self, db: ScopedSession, method: PaymentMethod) -> PaymentAccount:
        """Return the account of a saved method. Raises Conflict if the account takes no new charges."""
        account = db.scalar(
            select(PaymentAccount).where(PaymentAccount.business_id == method.business_id, PaymentAccount.id == method.payment_account_id)
        )
        if account is None or account.state != "open":
            raise Conflict(
                "NO_ELIGIBLE_PAYMENT_METHODS", N_("This payment method can no longer be charged. Choose or add another payment method.")
            )
        if account.kind not in self.kinds:
            raise not_live()
        return account

    def for_payment(self, db: ScopedSession, business_id: str, currency: str, method: PaymentMethod | None) -> PaymentAccount:
        """Return the account of the saved method, or without one the account for new charges. Raises Conflict as these do."""
        return self.for_method(db, method) if method else self.for_new(db, business_id, currency)

    def require(self, business_id: str, currency: str | None = None) -> None:
        """Raise Conflict MERCHANT_NOT_LIVE, before anything is written, if the business has no account that takes charges."""
        with self.database.open(system(business_id)) as db:
            self.for_new(db, business_id, currency)

    def page_origins(self) -> set[str]:
        """Return the origins of hosted pages to which forms of the portal may redirect."""
        return {origin for kind in self.kinds.values() for origin in getattr(kind, "page_origins", ())}

    def note_health(self, business_id: str, payment_account_id: str, failure: str | None = None, event: bool = False) -> None:
        """Store that the account answered, failed or sent an event. Does nothing if that was stored less than a minute ago."""
        at = clock.wall()
        with self.database.open(system(business_id)) as db:
            row = db.scalar(select(PaymentAccountDetails).where(PaymentAccountDetails.id == payment_account_id))
        if row is None:
            return
        last = row.last_event_at if event else row.last_failure_at if failure else row.last_answer_at
        if last is not None and at - last < HEALTH_EVERY:
            return
        with self.database.open(system(business_id), write=True) as db:
            row = db.scalar(select(PaymentAccountDetails).where(PaymentAccountDetails.id == payment_account_id).with_for_update())
            if row is None:
                return
            if event:
                row.last_event_at = at
            elif failure:
                row.last_failure_at, row.last_failure = at, failure
            else:
                row.last_answer_at = at


def provider_of(kind: str) -> str:
    """Return the value of `payment_provider` of a kind."""
    return PROVIDERS.get(kind, kind)


def purpose(payment_account_id: str, name: str) -> str:
    """Return the purpose for which a secret of an account is encrypted (core/encryption.py). `name`: key or webhook."""
    return f"payment_account/{payment_account_id}/{name}"


def not_live() -> Conflict:
    return Conflict("MERCHANT_NOT_LIVE", N_("Payments are not possible: this business has no open payment account."))
