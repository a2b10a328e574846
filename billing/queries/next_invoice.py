"""The invoice of the next period as it will be, were nothing to change until then."""

from __future__ import annotations

from collections.abc import Sequence

from billing import credit
from billing.credit_lines import less_credit
from billing.pricing import Line
from billing.queries.subscriptions import SubscriptionRow
from core.db import ScopedSession


def next_lines(db: ScopedSession, row: SubscriptionRow, charge: Sequence[Line]) -> list[Line]:
    """Its lines: the charge, less the credit that the subscription has. One statement where there is credit."""
    parts = credit.balance_parts(db, row)  # type: ignore[arg-type]  # it reads business, id and credit
    return less_credit(charge, balance=row.credit_minor, balance_parts=parts).lines
