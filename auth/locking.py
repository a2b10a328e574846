"""One lock order for whatever changes a person: their identity row first, of several the smaller id first, and everything else after."""

from __future__ import annotations

from sqlalchemy import select

from auth.models import Identity
from core.db import ScopedSession


def lock_people(db: ScopedSession, *identity_ids: str | None) -> list[Identity]:
    """The rows of those that are still there, by id. Call it before the transaction locks or writes anything else."""
    ids = sorted({one for one in identity_ids if one})
    return [found for one in ids if (found := db.scalar(select(Identity).where(Identity.identity_id == one).with_for_update()))]
