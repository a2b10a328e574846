"""The refund policy of a business: which payments its customers may refund themselves. It is stored in the settings of the business."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from billing.model import policy
from billing.model.payments import Payment
from billing.model.policy import HasSettings

KINDS = ("one_time", "first_payment", "renewal")
"""What a payment was for. Payments of plan changes and charges on demand are never refunded by the customer."""
AMOUNTS = ("full", "prorated")
KEY_RULES = ("any", "not_activated")
MOST_DAYS = 90
"""A payment can be refunded for 90 days (`billing/charging/refunds.py`), so a longer policy would promise too much."""
MOST_MONTHS = 36


ANSWER_DAYS = (1, 20)
"""Bounds of the working days within which a business answers a refund request."""


@dataclass(frozen=True)
class RefundPolicy:
    """`is_on`: customers may refund themselves, within `days` after the payment, payments of these `kinds`.

    `amount` full or prorated: one-time purchases are always refunded in full. `months`: one such refund per customer in this time, 0
    without limit. `keys` not_activated: only while no activation of the license keys is in use. `takes_requests`: customers may request
    what they cannot refund themselves; staff answer within `answer_days` working days.
    """

    is_on: bool = False
    days: int = 14
    kinds: tuple[str, ...] = ("one_time", "first_payment")
    amount: str = "full"
    months: int = 12
    keys: str = "not_activated"
    takes_requests: bool = False
    answer_days: int = 5

    def stored(self) -> dict[str, Any]:
        return {**asdict(self), "kinds": list(self.kinds)}


def refund_policy(business: HasSettings) -> RefundPolicy:
    """Return the refund policy of a business. Both ways to get a refund are off by default."""
    stored = policy.setting(business, "refund_policy")
    return replace(RefundPolicy(), **{**stored, **({"kinds": tuple(stored["kinds"])} if "kinds" in stored else {})})


def kind_of(payment: Payment, is_first: bool) -> str | None:
    """Return which of KINDS a payment is, or None. `is_first`: the subscription's first payment of money, which may follow a free trial."""
    if payment.charge_type not in ("new", "renewal"):
        return None
    if payment.subscription_id is None:
        return "one_time"
    return "first_payment" if is_first else "renewal"
