"""Preview the invoice of the next period, if nothing changes until then."""

from __future__ import annotations

from collections.abc import Sequence

from billing.pricing import credit
from billing.pricing.credit_lines import less_credit
from billing.pricing.prices import PriceLine
from billing.subscriptions.subscription_row import SubscriptionRow
from core.db import ScopedSession


def next_lines(db: ScopedSession, row: SubscriptionRow, charge: Sequence[PriceLine]) -> list[PriceLine]:
    """The invoice lines: the charge less the subscription's credit. One statement where there is credit."""
    parts = credit.balance_parts(db, row)
    return less_credit(charge, balance=row.credit_minor, balance_parts=parts).lines
