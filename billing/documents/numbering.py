"""Assigns invoice and refund numbers without gaps, in one series each per business.

A series starts after the imported numbers of the same format.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import select

from billing.model.invoices import Invoice
from billing.model.parties import Business, NumberSeries
from billing.model.payments import Refund
from core.db import ScopedSession

DIGITS = 9
"""Imported numbers with more digits are ignored, because they would make all later numbers as long."""
_USED: dict[str, Any] = {"invoice": Invoice.number, "refund": Refund.number}


def take_number(db: ScopedSession, business: Business, series: str, prefix: str) -> str:
    """Return the next number of `series` (invoice, refund) under a lock of its row.

    There are no gaps, because the number is taken in the transaction that uses it. A series starts after all imported numbers of the
    format `<prefix>-<digits>`, and skips those that are imported later.
    """
    row = db.scalar(select(NumberSeries).where(NumberSeries.id == series).with_for_update())
    if row is None:
        row = NumberSeries(business_id=business.business_id, id=series, next=_highest(db, series, prefix) + 1)
        db.add(row)
    if _is_used(db, series, _format_number(prefix, row.next)):
        row.next = max(row.next, _highest(db, series, prefix)) + 1
    while _is_used(db, series, _format_number(prefix, row.next)):
        row.next += 1
    number = _format_number(prefix, row.next)
    row.next += 1
    return number


def _format_number(prefix: str, number: int) -> str:
    return f"{prefix}-{number:04d}"


def _is_used(db: ScopedSession, series: str, number: str) -> bool:
    return db.scalar(select(_USED[series]).where(_USED[series] == number).limit(1)) is not None


def _highest(db: ScopedSession, series: str, prefix: str) -> int:
    pattern = re.compile(rf"{re.escape(prefix)}-([0-9]{{1,{DIGITS}}})")
    similar = select(_USED[series]).where(_USED[series].startswith(f"{prefix}-", autoescape=True))
    found = (pattern.fullmatch(row) for row in db.scalars(similar))
    return max((int(item.group(1)) for item in found if item), default=0)
