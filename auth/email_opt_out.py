"""Opt-out from emails about missing purchases."""

from __future__ import annotations

from sqlalchemy import select

from auth.models import EmailOptOut
from core import clock
from core.db import Database
from core.scope import everything


def opt_out(database: Database, address_hash: str) -> None:
    """Record that this address does not want emails about missing purchases."""
    with database.open(everything("opt out of emails"), write=True) as db:
        if db.scalar(select(EmailOptOut).where(EmailOptOut.address_hash == address_hash)) is None:
            db.add(EmailOptOut(address_hash=address_hash, created_at=clock.wall()))


def is_opted_out(database: Database, address_hash: str) -> bool:
    with database.open(everything("check the email opt-out")) as db:
        return db.scalar(select(EmailOptOut).where(EmailOptOut.address_hash == address_hash)) is not None
