"""What stays a customer's when a business has closed: what they had, invoices, keys."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from billing.invoices import Invoice
from billing.queries import held_keys, subscriptions
from billing.queries.held_keys import KeyRow
from billing.queries.subscriptions import SubscriptionRow
from core.db import ScopedSession


@dataclass(frozen=True)
class Kept:
    subscriptions: list[SubscriptionRow]
    invoices: int
    first_at: datetime | None
    last_at: datetime | None
    keys: list[KeyRow]


def kept(db: ScopedSession) -> Kept:
    had = [*subscriptions.live(db), *subscriptions.past(db)]
    count, first, last = db.execute(select(func.count(Invoice.id), func.min(Invoice.issued_at), func.max(Invoice.issued_at))).one()
    return Kept(had, int(count), first, last, held_keys.keys(db))
