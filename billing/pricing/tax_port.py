"""The port to hosted tax calculators, which answer over the network: Stripe Tax (gateways/stripe/taxes.py).

The calculator of the portal's own table (billing/pricing/taxes.py) needs no network, and is the default. A hosted calculator is asked
outside of transactions, before the price is shown; its answer is stored with the payment (billing/charging/hosted_tax.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class TaxItem:
    """The amount of all lines of a document with the same tax category and kind of price, in minor units, after discounts."""

    reference: str
    amount_minor: int
    inclusive: bool
    category: str | None


@dataclass(frozen=True)
class TaxRequest:
    """A sale of which the tax is asked for. `tax_id`: None if it is known to be invalid. `on`: the tax point, None for now."""

    business_id: str
    payment_account_id: str
    currency: str
    items: tuple[TaxItem, ...]
    street: str
    city: str
    state: str
    zipcode: str
    country: str
    tax_id: str | None = None
    on: datetime | None = None

    @property
    def digest(self) -> str:
        """Equal for requests with the same answer."""
        return hashlib.sha256(json.dumps(asdict(self), default=str, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class TaxedItem:
    """The tax of an item: amount, code and reason as in billing/pricing/taxes.py. `rate`: the exact percentage, such as "8.875".

    `bps` is the rate in basis points, rounded.
    """

    reference: str
    tax_minor: int
    code: str
    bps: int
    rate: str
    reason: str | None = None


@dataclass(frozen=True)
class TaxAnswer:
    """`reference`: the calculator's id of the calculation."""

    reference: str
    items: tuple[TaxedItem, ...]


@dataclass(frozen=True)
class RecordedSale:
    """`reference`: the calculator's id of the recorded sale. `lines`: its ids of the items, in their order."""

    reference: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class ReversedItem:
    """A refunded part of an item, in minor units. `amount_minor` contains the tax if the item's price does. `line`: its id there."""

    line: str
    amount_minor: int
    tax_minor: int


class HostedTax(Protocol):
    """The calculator at one account. A key has at most one effect. Every call raises core.errors.Unavailable without an answer.

    A refusal raises core.errors.Invalid (TAX_NOT_CALCULATED, with a sentence) or Conflict for what was to be recorded.
    """

    def check(self) -> Sequence[str]:
        """Return what has to be done before it can be used, as sentences in English. Empty: it is ready."""
        ...

    def calculate(self, request: TaxRequest) -> TaxAnswer: ...

    def record_sale(self, key: str, calculation: str, reference: str) -> RecordedSale: ...

    def record_refund(
        self, key: str, sale: str, reference: str, *, currency: str, amount_minor: int, items: Sequence[ReversedItem]
    ) -> RecordedSale:
        """Reverse a part of a recorded sale: these items, or without items the amount over all lines."""
        ...

    def reverse_in_full(self, key: str, recorded: str, reference: str) -> RecordedSale:
        """Reverse everything that one call recorded."""
        ...
