"""A business closes its shop: nothing is sold there any more; its customers keep what they have."""

from __future__ import annotations

from sqlalchemy import select

from billing.parties import Business
from core import clock
from core.db import ScopedSession
from core.errors import NotFound
from core.outbox import emit


def archive_business(db: ScopedSession, business_id: str) -> Business:
    """Saying it twice changes nothing more. Raises NotFound."""
    business = db.scalar(select(Business).where(Business.business_id == business_id))
    if business is None:
        raise NotFound(sentence="There is no such business.")
    if business.archived_at is None:
        business.archived_at = clock.now()
        emit(db, "business.archived", business_id=business_id, noun=business_id)
    return business
