"""What was sent is kept for thirty days: it is about people."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete

from billing.parties import Business
from core import clock, turns
from core.db import Database
from core.scope import everything
from tenants.webhooks.tables import Attempt, Delivery

KEPT = timedelta(days=30)
BATCH = 500


def sweep(database: Database, batches: int = 20) -> int:
    """Delete old deliveries with their attempts, except those that wait. Businesses take turns. Returns how many."""
    swept = 0
    for _ in range(batches):
        ids = turns.old_rows(database, Business, Delivery.id, Delivery.business_id == Business.business_id,
                             Delivery.created_at < clock.wall() - KEPT, Delivery.state != "pending", limit=BATCH)
        if not ids:
            break
        with database.open(everything("sweep old webhooks"), write=True) as db:
            db.execute(delete(Attempt).where(Attempt.delivery_id.in_(ids)))
            db.execute(delete(Delivery).where(Delivery.id.in_(ids)))
        swept += len(ids)
    return swept
