"""The public profile of a business, which anyone may see on its sign-in page."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select

from billing.model import policy
from billing.model.parties import Business
from core.brand import logo_path
from core.db import Database
from core.languages import spoken
from core.scope import everything


@dataclass(frozen=True, kw_only=True)
class BusinessProfile:
    business_id: str
    name: str
    legal_name: str = ""
    support_email: str = ""
    locale: str = "en"  # if a reader prefers none of its languages
    zone: str = "UTC"
    brand: dict[str, Any] = field(default_factory=dict)
    town: str = ""
    country: str | None = None  # in which it is established (alpha-2)
    archived_at: datetime | None = None
    languages: tuple[str, ...] = ()  # the languages it offers; empty means all supported languages
    terms_url: str = ""
    privacy_url: str = ""
    accessibility_text: str = ""
    cancelling_text: str = ""

    @property
    def logo_url(self) -> str | None:
        return logo_path(self.business_id, self.brand)

    @property
    def accent(self) -> str | None:
        return self.brand.get("accent")

    def language_for(self, *preferred: str | None) -> str:
        """Return the first of the reader's preferred languages that this business offers, else its default."""
        return spoken(preferred, self.languages, self.locale)

    @property
    def seller(self) -> str:
        """Return the legal name and the town in one line."""
        return ", ".join(part for part in (self.legal_name or self.name, self.town) if part)


PROFILE_COLUMNS = (
    "business_id", "name", "legal_name", "support_email", "locale", "zone", "brand", "address", "archived_at", "settings"
)  # fmt: skip
"""The columns of a business that its profile is made of."""


def profile_of(business: Any) -> BusinessProfile:
    """Return the profile of a business, or of a result row with PROFILE_COLUMNS."""
    return BusinessProfile(
        business_id=business.business_id,
        name=business.name,
        legal_name=business.legal_name,
        support_email=business.support_email,
        locale=business.locale,
        zone=business.zone,
        brand=dict(business.brand or {}),
        town=str((business.address or {}).get("city") or ""),
        country=(business.address or {}).get("country") or None,
        archived_at=business.archived_at,
        languages=tuple(policy.setting(business, "languages")),
        terms_url=policy.setting(business, "terms_url"),
        privacy_url=policy.setting(business, "privacy_url"),
        accessibility_text=policy.setting(business, "accessibility_text"),
        cancelling_text=policy.setting(business, "cancelling_text"),
    )


def public_profile(database: Database, business_id: str) -> BusinessProfile | None:
    """Return the profile of a business, or None if it does not exist. Uses one query."""
    with database.open(everything("public profile")) as db:
        business = db.scalar(select(Business).where(Business.business_id == business_id))
        return profile_of(business) if business else None
