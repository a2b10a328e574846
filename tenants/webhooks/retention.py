"""Deletes deliveries after 30 days, because they contain personal data."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete

from billing.model.parties import Business
from core import clock, recurring_jobs
from core.db import Database
from core.scope import everything
from tenants.webhooks.models import Attempt, Delivery

KEPT = timedelta(days=30)
BATCH = 500


def sweep(database: Database, batches: int = 20) -> int:
    """Delete old deliveries with their attempts, except pending ones. Businesses take turns. Return how many were deleted."""
    deleted = 0
    for _ in range(batches):
        ids = recurring_jobs.old_rows(
            database,
            Business,
            Delivery.id,
            Delivery.business_id == Business.business_id,
            Delivery.created_at < clock.wall() - KEPT,
            Delivery.state != "pending",
            limit=BATCH,
        )
        if not ids:
            break
        with database.open(everything("sweep old webhooks"), write=True) as db:
            db.execute(delete(Attempt).where(Attempt.delivery_id.in_(ids)))
            db.execute(delete(Delivery).where(Delivery.id.in_(ids)))
        deleted += len(ids)
    return deleted
