"""Read what customers keep after a business has closed: subscriptions, invoices and license keys."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from billing.licenses import queries as license_queries
from billing.licenses.queries import KeyRow
from billing.model.invoices import Invoice
from billing.subscriptions import queries as subscription_queries
from billing.subscriptions.subscription_row import SubscriptionRow
from core.db import ScopedSession


@dataclass(frozen=True)
class ArchivedBusinessTerms:
    """`invoices`: their number. `first_at`, `last_at`: dates of the first and the last invoice."""

    subscriptions: list[SubscriptionRow]
    invoices: int
    first_at: datetime | None
    last_at: datetime | None
    keys: list[KeyRow]


def load_archived_terms(db: ScopedSession) -> ArchivedBusinessTerms:
    subscriptions = [*subscription_queries.live(db), *subscription_queries.past(db)]
    count, first, last = db.execute(select(func.count(Invoice.id), func.min(Invoice.issued_at), func.max(Invoice.issued_at))).one()
    return ArchivedBusinessTerms(subscriptions, int(count), first, last, license_queries.keys(db))
