"""A business's public face: what anybody may see at its door."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select

from billing import policy
from billing.parties import Business
from core.brand import logo_path
from core.db import Database
from core.languages import spoken
from core.scope import everything


@dataclass(frozen=True)
class Face:
    business_id: str
    name: str
    legal_name: str = ""
    support_email: str = ""
    locale: str = "en"  # for whoever wishes for none of its languages
    zone: str = "UTC"
    brand: dict[str, Any] = field(default_factory=dict)
    town: str = ""
    archived_at: datetime | None = None
    languages: tuple[str, ...] = ()  # what its door offers; none means all there are

    @property
    def logo_url(self) -> str | None:
        return logo_path(self.business_id, self.brand)

    @property
    def accent(self) -> str | None:
        return self.brand.get("accent")

    def speaks(self, *wished: str | None) -> str:
        """What this business writes to somebody in: the first of their wishes that it offers, else its default."""
        return spoken(wished, self.languages, self.locale)

    @property
    def seller(self) -> str:
        """One line: legal name and town."""
        return ", ".join(part for part in (self.legal_name or self.name, self.town) if part)


def face_of(business: Business) -> Face:
    return Face(
        business.business_id, business.name, business.legal_name, business.support_email, business.locale, business.zone,
        dict(business.brand or {}), str((business.address or {}).get("city") or ""), business.archived_at,
        tuple(policy.setting(business, "languages")),
    )


def public_face(database: Database, business_id: str) -> Face | None:
    """One query; None for a business there is not."""
    with database.open(everything("public face")) as db:
        business = db.scalar(select(Business).where(Business.business_id == business_id))
        return face_of(business) if business else None
