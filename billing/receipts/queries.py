"""Read receipts through the scope of the session."""

from __future__ import annotations

from sqlalchemy import select

from billing.model.receipts import Receipt
from core.db import ScopedSession
from core.errors import NotFound

LISTED = 50


def get_receipt(db: ScopedSession, receipt_id: str) -> Receipt:
    """Return a receipt. Raises NotFound, also for another customer's."""
    found = db.scalar(select(Receipt).where(Receipt.id == receipt_id))
    if found is None:
        raise NotFound()
    return found


def receipts_of(db: ScopedSession, business_id: str, subscription_id: str) -> list[Receipt]:
    """Return the receipts of a subscription, newest first."""
    found = select(Receipt).where(Receipt.business_id == business_id, Receipt.subscription_id == subscription_id)
    return list(db.scalars(found.order_by(Receipt.issued_at.desc(), Receipt.id.desc()).limit(LISTED)))
