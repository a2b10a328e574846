"""Lock order for changes to people: identity rows first, in order of id, then everything else."""

from __future__ import annotations

from sqlalchemy import select

from auth.models import Identity
from core.db import ScopedSession


def lock_people(db: ScopedSession, *identity_ids: str | None) -> list[Identity]:
    """Lock and return the existing rows, ordered by id. Call before the transaction locks or writes anything else."""
    ids = sorted({identity_id for identity_id in identity_ids if identity_id})
    return [found for row_id in ids if (found := db.scalar(select(Identity).where(Identity.identity_id == row_id).with_for_update()))]
