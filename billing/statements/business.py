"""Find the business that somebody names on a public page."""

from __future__ import annotations

from sqlalchemy import func, or_, select

from billing.model.business_profile import BusinessProfile, profile_of
from billing.model.parties import Business
from core.db import Database
from core.scope import everything

LIMIT = 10


def named(database: Database, name: str) -> list[BusinessProfile]:
    """Return the businesses with this name, legal name or id, at most ten. Names are compared without case."""
    wanted = " ".join(name.split())
    if not wanted or len(wanted) > 200 or "\0" in wanted:
        return []
    same = or_(
        func.lower(Business.name) == wanted.lower(),
        func.lower(Business.legal_name) == wanted.lower(),
        Business.name == wanted,
        Business.business_id == wanted,
    )
    with database.open(everything("a business named on a public page")) as db:
        return [profile_of(row) for row in db.scalars(select(Business).where(same).order_by(Business.created_at).limit(LIMIT))]
