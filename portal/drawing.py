"""A page stands whatever one of its rows says: a row that cannot be drawn is left out, and the page says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog

from billing.queries.subscriptions import SubscriptionRow

log = structlog.get_logger()

Drawn = TypeVar("Drawn")

UNDRAWABLE = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError)
"""What a value that no calendar, price or sentence can carry may raise."""


def drawn(
    rows: Sequence[SubscriptionRow], draw: Callable[[list[SubscriptionRow]], Drawn]
) -> tuple[Drawn, list[SubscriptionRow]]:
    """(what `draw` makes of the rows, the rows that were left out). Each row is tried by itself only where all together fail."""
    try:
        return draw(list(rows)), []
    except UNDRAWABLE:
        good, left_out = [], []
        for row in rows:
            try:
                draw([row])
                good.append(row)
            except UNDRAWABLE:
                log.exception("a subscription cannot be drawn", business_id=row.business_id, subscription_id=row.id)
                left_out.append(row)
        return draw(good), left_out
