"""Defines the port to payment processors: what a payment account of a business can do.

Implementations are in `gateways/`, one package per kind, named by `wsgi.py`. A `Gateway` belongs to exactly one payment account. Every
implementation follows these rules (checked by the contract tests in `tests/contract/`):

* a *key* names one operation; the same key with the same parameters has at most one effect, forever;
* a call that timed out does not raise, it returns the state ``unknown``;
* "not found" does not mean "declined", because the request may still arrive;
* what was cancelled first never happens, even if its request arrives later;
* no card number is passed in either direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Protocol

from billing.charging.account_ports import AccountReport, TestPayment
from billing.charging.processor_reports import DisputeReport, Notification, RefundReport
from billing.pricing.tax_port import HostedTax
from core.money import Money

ChargeState = Literal["succeeded", "declined", "requires_action", "processing", "cancelled", "unknown", "not_found"]
"""succeeded, declined and cancelled are final. The other four are not."""

FINAL: frozenset[str] = frozenset({"succeeded", "declined", "cancelled"})


@dataclass(frozen=True)
class AccountAccess:
    """The keys and ids with which an adapter acts at one account. Secrets are decrypted only for this object, and never logged."""

    id: str
    """Our id of the account (`pac_…`)."""
    business_id: str
    live: bool
    secret_key: str = field(default="", repr=False)
    webhook_secret: str = field(default="", repr=False)
    external_id: str = ""
    api_version: str = ""


@dataclass(frozen=True)
class MethodDetails:
    """A saved payment method as the processor describes it, never its number.

    `kind`: card, sepa_debit, us_bank_account, ideal, bacs_debit, link, paypal, … `display` is for kinds without brand and last four digits.
    `mandate`: the processor's id of a debit mandate; its reference and date have to be shown to the customer. `fingerprint` is equal for
    the same card or bank account of different customers of an account. `customer_reference`: the customer who owns it at the processor.
    """

    reference: str
    kind: str = "card"
    brand: str | None = None
    last4: str | None = None
    expiry_month: int | None = None
    expiry_year: int | None = None
    holder: str | None = None
    country: str | None = None
    recurring: bool = True
    wallet: str | None = None
    display: str | None = None
    bank_code: str | None = None
    mandate: str | None = None
    mandate_reference: str | None = None
    mandate_at: datetime | None = None
    fingerprint: str | None = None
    customer_reference: str | None = None


@dataclass(frozen=True)
class CustomerRequest:
    """Register a customer at the account. `key` makes a repetition return the same customer while the processor remembers it."""

    key: str
    business_id: str
    customer_id: str
    email: str
    name: str | None = None


@dataclass(frozen=True)
class CollectRequest:
    """Open a hosted page that saves a method and, if `amount` is positive, charges it under `key`."""

    key: str
    business_id: str
    customer_id: str
    amount: Money | None
    description: str
    return_url: str
    cancel_url: str | None = None
    locale: str = "en"
    prefill_name: str | None = None
    customer_reference: str = ""
    """The customer's id at the processor, from `register`."""
    currency: str = ""
    """The currency later charges will have; needed when `amount` is None."""


@dataclass(frozen=True)
class HostedPage:
    url: str
    reference: str
    expires_at: datetime | None = None
    """Wall clock. After this time the page is opened again with `collect` under the next key."""


@dataclass(frozen=True)
class ChargeRequest:
    """Take `amount` from a saved method. `off_session`: the customer is not present to answer a challenge."""

    key: str
    business_id: str
    customer_id: str
    method_reference: str
    amount: Money
    description: str
    off_session: bool = True
    return_url: str | None = None
    customer_reference: str = ""


@dataclass(frozen=True)
class Trace:
    """An operation that was sent before, with enough to find it when only the request reached the processor.

    `sent_at`: wall clock of the first request. `reference`: the processor's id, if it answered.
    """

    key: str
    kind: Literal["charge", "refund", "collect"] = "charge"
    reference: str | None = None
    customer_reference: str = ""
    sent_at: datetime | None = None
    charge: Trace | None = None
    """Of a refund: the charge that it refunds."""


@dataclass(frozen=True)
class RefundRequest:
    """Refund `amount` of the succeeded charge `charge`."""

    key: str
    charge: Trace
    business_id: str
    amount: Money


@dataclass(frozen=True)
class ChargeOutcome:
    """The processor's state of a key. `amount` is the moved amount. `redirect_url` is set only for requires_action.

    `working_days`: of processing: the bank needs about so many working days, as for direct debits. The payment then waits without
    being "unknown". `error_code` is one of our decline codes (`billing/charging/decline_codes`).
    """

    state: ChargeState
    key: str
    reference: str | None = None
    amount: Money | None = None
    error_code: str | None = None
    error_message: str | None = None
    redirect_url: str | None = None
    method: MethodDetails | None = None
    challenged: bool = False
    working_days: int | None = None

    @property
    def final(self) -> bool:
        return self.state in FINAL


class Gateway(Protocol):
    name: str
    """Value of `payment_provider` (an SDK value)."""
    resend_window: timedelta
    """How long the same key may be sent again after `not_found`."""

    def register(self, request: CustomerRequest) -> str:
        """Return the customer's id at the processor. Idempotent under the key. Raises on any failure: nothing was charged."""
        ...

    def collect(self, request: CollectRequest) -> HostedPage: ...

    def charge(self, request: ChargeRequest) -> ChargeOutcome: ...

    def refund(self, request: RefundRequest) -> ChargeOutcome: ...

    def look_up(self, trace: Trace) -> ChargeOutcome: ...

    def look_up_refund(self, reference: str) -> RefundReport | None:
        """Return a refund by the processor's id; None if this account has none. Raises core.errors.Unavailable without an answer."""
        ...

    def look_up_dispute(self, reference: str) -> DisputeReport | None:
        """Return a dispute by the processor's id; None if this account has none. Raises core.errors.Unavailable without an answer."""
        ...

    def cancel(self, trace: Trace) -> ChargeOutcome:
        """Cancel the operation if it is still open. Returns cancelled, succeeded (too late), declined or unknown."""
        ...

    def forget(self, method_reference: str) -> None:
        """Make the processor unable to charge the method again. Idempotent."""
        ...

    def describe(self, method_reference: str) -> MethodDetails | None:
        """Return a saved method as it is now, None if it cannot be charged any more. Raises Unavailable."""
        ...

    def test_payment(self, key: str, currency: str) -> TestPayment:
        """Open a small payment that nobody can pay, and cancel it. Its notification carries the key. Idempotent under the key.

        Raises Unavailable when the processor does not answer: then call it again, so that nothing is left open.
        """
        ...

    def read_notification(self, headers: Mapping[str, str], body: bytes) -> Notification:
        """Verify and parse. Raises core.errors.Unauthorized for a bad signature."""
        ...


class GatewayKind(Protocol):
    """A kind of payment processor, such as the sandbox or Stripe."""

    name: str

    def open(self, access: AccountAccess) -> Gateway:
        """Return the gateway of one account. Imports the processor's SDK only here. Makes no call."""
        ...

    def taxes(self, access: AccountAccess) -> HostedTax | None:
        """Return the hosted tax calculator of the account, None if this kind has none. Makes no call."""
        ...

    def check(self, access: AccountAccess) -> AccountReport:
        """Ask the processor about the account. Raises core.errors.Invalid (fields: secret_key) for a key of the other mode, or one
        that the processor refuses; core.errors.PortalError when the processor does not answer."""
        ...
