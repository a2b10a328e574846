"""Draw lists of subscriptions without the rows that cannot be drawn. The pages report the omitted rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog

from billing.subscriptions.subscription_row import SubscriptionRow

log = structlog.get_logger()

Drawn = TypeVar("Drawn")

UNDRAWABLE = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError)
"""Exceptions that invalid values in imported rows can raise."""


def safe_rows(rows: Sequence[SubscriptionRow], draw: Callable[[list[SubscriptionRow]], Drawn]) -> tuple[Drawn, list[SubscriptionRow]]:
    """Return (result of `draw`, omitted rows). Rows are tried one by one only if drawing all of them fails."""
    try:
        return draw(list(rows)), []
    except UNDRAWABLE:
        good, left_out = [], []
        for row in rows:
            try:
                draw([row])
                good.append(row)
            except UNDRAWABLE:
                log.exception("subscription rendering failed", business_id=row.business_id, subscription_id=row.id)
                left_out.append(row)
        return draw(good), left_out
