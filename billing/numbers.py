"""Numbers of invoices and refunds: one series each per business, without gaps, starting past imported numbers of the same shape."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import select

from billing.invoices import Invoice
from billing.parties import Business, NumberSeries
from billing.payments import Refund
from core.db import ScopedSession

DIGITS = 9
"""Longer imported numbers are no part of a series: they would make all later ones as long."""
_USED: dict[str, Any] = {"invoice": Invoice.number, "refund": Refund.number}


def take_number(db: ScopedSession, business: Business, series: str, prefix: str) -> str:
    """The next number of `series` (invoice, refund), under its row's lock: no gaps, because it is taken in the transaction that uses it.

    A series begins past all numbers of the shape `<prefix>-<digits>` that were imported before; it also skips those imported later.
    """
    row = db.scalar(select(NumberSeries).where(NumberSeries.id == series).with_for_update())
    if row is None:
        row = NumberSeries(business_id=business.business_id, id=series, next=_highest(db, series, prefix) + 1)
        db.add(row)
    if _is_used(db, series, _written(prefix, row.next)):
        row.next = max(row.next, _highest(db, series, prefix)) + 1
    while _is_used(db, series, _written(prefix, row.next)):
        row.next += 1
    number = _written(prefix, row.next)
    row.next += 1
    return number


def _written(prefix: str, number: int) -> str:
    return f"{prefix}-{number:04d}"


def _is_used(db: ScopedSession, series: str, number: str) -> bool:
    return db.scalar(select(_USED[series]).where(_USED[series] == number).limit(1)) is not None


def _highest(db: ScopedSession, series: str, prefix: str) -> int:
    shape = re.compile(rf"{re.escape(prefix)}-([0-9]{{1,{DIGITS}}})")
    alike = select(_USED[series]).where(_USED[series].startswith(f"{prefix}-", autoescape=True))
    found = (shape.fullmatch(one) for one in db.scalars(alike))
    return max((int(one.group(1)) for one in found if one), default=0)
