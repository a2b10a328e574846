"""What a processor reports: refunds and disputes, also those that began in its own dashboard, and notifications. Part of `ports.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from core.money import Money

RefundState = Literal["succeeded", "declined", "processing", "cancelled"]


@dataclass(frozen=True)
class RefundReport:
    """A refund as the processor has it, also one that was made in its own dashboard.

    `key`: of our operation, else empty. `charge_key`, `charge_reference`: of the refunded charge; no key if the portal did not make it.
    """

    reference: str
    state: RefundState
    amount: Money
    key: str = ""
    charge_key: str = ""
    charge_reference: str | None = None


DisputeStatus = Literal[
    "dispute_opened", "dispute_challenged", "dispute_won", "dispute_lost", "dispute_accepted", "dispute_expired", "dispute_cancelled"
]
DisputeStage = Literal["pre_dispute", "dispute", "pre_arbitration"]


@dataclass(frozen=True)
class DisputeReport:
    """A dispute as the processor has it. States and stages are the contract's.

    `pre_dispute`: an inquiry, for which the processor withholds nothing. `reason`: one of `DISPUTE_REASONS`. `is_debit_return`: the
    customer's bank returned a direct debit, which nobody can answer. `answer_by`: until when the business can answer, at `url`.
    `status` None: the processor names a state that its adapter does not know, so the recorded one stays.
    """

    reference: str
    status: DisputeStatus | None
    amount: Money
    stage: DisputeStage = "dispute"
    charge_key: str = ""
    charge_reference: str | None = None
    reason: str = "general"
    is_debit_return: bool = False
    answer_by: datetime | None = None
    url: str | None = None


DISPUTE_REASONS = (
    "fraudulent",
    "unrecognized",
    "duplicate",
    "subscription_canceled",
    "product_not_received",
    "product_unacceptable",
    "credit_not_processed",
    "debit_returned",
    "general",
)


Noun = Literal["charge", "refund", "collect", "method", "dispute", "account"]
"""The kinds of object that a notification can be about. `account`: the payment account itself, such as a test event."""


@dataclass(frozen=True)
class Notification:
    """A verified notification of the account. It is a hint: state and amount always come from `look_up`.

    `reference`: the processor's id of the object. `key`: of our operation, if the processor sends it back (not for what was
    done in the processor's dashboard).
    """

    id: str
    noun: Noun
    reference: str | None = None
    key: str | None = None
    raw: Mapping[str, object] = field(default_factory=dict)
