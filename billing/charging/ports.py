"""Defines the port to payment gateways, with six verbs.

Implementations are in `gateways/` and are passed in by `wsgi.py`. Every implementation follows these rules (checked by the contract tests
in `tests/contract/`):

* a *key* names one operation; the same key with the same parameters has at most one effect, forever;
* a call that timed out does not raise, it returns the state ``unknown``;
* "not found" does not mean "declined", because the request may still arrive;
* no card number is passed in either direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, Protocol

from core.money import Money

ChargeState = Literal["succeeded", "declined", "requires_action", "processing", "cancelled", "unknown", "not_found"]
"""succeeded, declined and cancelled are final. The other four are not."""

FINAL: frozenset[str] = frozenset({"succeeded", "declined", "cancelled"})


@dataclass(frozen=True)
class MethodDetails:
    """A saved payment method as the gateway describes it: brand, last four digits, expiry and reference, never the number."""

    reference: str
    kind: str = "card"
    brand: str | None = None
    last4: str | None = None
    expiry_month: int | None = None
    expiry_year: int | None = None
    holder: str | None = None
    country: str | None = None
    recurring: bool = True


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


@dataclass(frozen=True)
class HostedPage:
    url: str
    reference: str


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


@dataclass(frozen=True)
class RefundRequest:
    """Refund `amount` of the succeeded charge with the key `charge_key`."""

    key: str
    charge_key: str
    business_id: str
    amount: Money


@dataclass(frozen=True)
class ChargeOutcome:
    """The gateway's state of a key. `amount` is the moved amount. `redirect_url` is set only for requires_action."""

    state: ChargeState
    key: str
    reference: str | None = None
    amount: Money | None = None
    error_code: str | None = None
    error_message: str | None = None
    redirect_url: str | None = None
    method: MethodDetails | None = None
    challenged: bool = False

    @property
    def final(self) -> bool:
        return self.state in FINAL


@dataclass(frozen=True)
class Notification:
    """A verified notification that something happened to `key`. State and amount always come from `look_up`."""

    id: str
    key: str
    kind: Literal["charge", "refund", "collect"]
    raw: Mapping[str, object] = field(default_factory=dict)


class Gateway(Protocol):
    name: str
    """Value of `payment_provider` (an SDK value) and part of every key."""
    resend_window: timedelta
    """How long the same key may be sent again after `not_found`."""

    def collect(self, request: CollectRequest) -> HostedPage: ...

    def charge(self, request: ChargeRequest) -> ChargeOutcome: ...

    def refund(self, request: RefundRequest) -> ChargeOutcome: ...

    def look_up(self, key: str) -> ChargeOutcome: ...

    def cancel(self, key: str) -> ChargeOutcome:
        """Cancel `key` if it is still open. Returns cancelled, succeeded (too late), declined or unknown."""
        ...

    def read_notification(self, headers: Mapping[str, str], body: bytes) -> Notification:
        """Verify and parse. Raises core.errors.Unauthorized for a bad signature."""
        ...
