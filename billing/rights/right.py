"""Says whether a customer may withdraw from one contract, until when, and why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from billing.model.customer_types import CustomerType
from billing.rights.table import WithdrawRule
from billing.rights.withdrawal import period_end, rule_for
from core import clock

State = Literal["open", "none", "over", "delivered"]


@dataclass(frozen=True)
class Right:
    """The right to withdraw from a contract.

    `state`: open; none: the law gives no right here, or a business bought; over: the period has ended; delivered: digital content was
    delivered with the customer's consent. `last_day`: of the period. `concluded_at`: from which the days count, and since which the
    right is gone if it is delivered.
    """

    state: State
    rule: WithdrawRule
    party: CustomerType
    concluded_at: datetime
    last_day: date | None = None
    ends_at: datetime | None = None
    country: str | None = None

    @property
    def is_open(self) -> bool:
        return self.state == "open"


def right(
    address: Mapping[str, Any] | None,
    party: CustomerType,
    concluded_at: datetime,
    *,
    zone: str,
    is_delivered: bool,
    at: datetime | None = None,
) -> Right:
    """Return the right at `at`, by default now. `is_delivered`: digital content, agreed to before. `zone`: of the business."""
    rule = rule_for(address, party)
    if not rule.applies:
        return Right("none", rule, party, concluded_at)
    country = str((address or {}).get("country") or "").upper() or None
    last_day, ends_at = period_end(rule, concluded_at, country, zone)
    state: State = "open"
    if is_delivered and rule.digital == "ends":
        state = "delivered"
    elif (at or clock.now()) >= ends_at:
        state = "over"
    return Right(state, rule, party, concluded_at, last_day, ends_at, country)
