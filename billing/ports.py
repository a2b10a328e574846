"""What billing needs from whoever moves money, in billing's words (six verbs).

Implementations live in `gateways/` and are handed in by `wsgi.py`. Rules every implementation obeys
(checked by one contract suite, `tests/contract/`):

* a *key* names one intent; the same key with the same parameters has at most one effect, for ever;
* "unknown" is an answer: a call that timed out raises nothing, it returns state ``unknown``;
* "not found" is not "declined": the call may still be travelling;
* no card number crosses this port, in either direction.
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
    """A saved way to pay, as the gateway describes it. Never a number: brand, last four, expiry, reference."""

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
class Collect:
    """Open a hosted page that saves a method and, where `amount` is given and positive, charges it under `key`."""

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
class Charge:
    """Take `amount` from a saved method. `off_session`: nobody is there to answer a challenge."""

    key: str
    business_id: str
    customer_id: str
    method_reference: str
    amount: Money
    description: str
    off_session: bool = True
    return_url: str | None = None


@dataclass(frozen=True)
class Refund:
    """Give `amount` back from the succeeded charge that `charge_key` names."""

    key: str
    charge_key: str
    business_id: str
    amount: Money


@dataclass(frozen=True)
class Outcome:
    """What the gateway knows of a key. `amount` is what it moved; `redirect_url` only with requires_action."""

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
    """A verified hint that something happened to `key`. State and amount always come from `look_up`."""

    id: str
    key: str
    kind: Literal["charge", "refund", "collect"]
    raw: Mapping[str, object] = field(default_factory=dict)


class Gateway(Protocol):
    name: str
    """Value of `payment_provider` (an SDK value) and part of every key."""
    resend_window: timedelta
    """How long the same key may be sent again after `not_found`."""

    def collect(self, request: Collect) -> HostedPage: ...

    def charge(self, request: Charge) -> Outcome: ...

    def refund(self, request: Refund) -> Outcome: ...

    def look_up(self, key: str) -> Outcome: ...

    def cancel(self, key: str) -> Outcome:
        """Stop `key` if it is still open. Answers cancelled, succeeded (too late), declined or unknown."""
        ...

    def read_notification(self, headers: Mapping[str, str], body: bytes) -> Notification:
        """Verify and parse. Raises core.errors.Unauthorized on a bad signature."""
        ...
