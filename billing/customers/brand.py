"""Change the look of a business's portal: accent color, corners, typeface, mode and logo. No free text reaches a page."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import select

from billing.customers.portal_settings import the_business
from billing.model.parties import Business
from billing.model.pictures import Picture
from core import clock
from core.brand import clean_brand
from core.db import ScopedSession
from core.outbox import emit


def change_brand(db: ScopedSession, *, accent: str, radius: str, font: str, mode: str) -> None:
    """Change the look. Raises Invalid with a message per field."""
    chosen = clean_brand(accent, radius, font, mode)
    business = the_business(db, write=True)
    _save(db, business, {**(business.brand or {}), **chosen})


def put_logo(db: ScopedSession, png: bytes) -> str:
    """Replace the logo and return its id. `png`: the output of `core.logo.clean_logo`.

    The id is a hash of the bytes, so a new picture has a new URL and browsers can cache it forever.
    """
    business = the_business(db, write=True)
    id = f"logo-{hashlib.sha256(png).hexdigest()[:32]}"
    _delete_logos(db, business, besides=id)
    if db.scalar(select(Picture.id).where(Picture.id == id)) is None:
        db.add(Picture(business_id=business.business_id, id=id, noun_id=business.business_id, png=png, created_at=clock.now()))
    _save(db, business, {**(business.brand or {}), "logo": id})
    return id


def drop_logo(db: ScopedSession) -> None:
    business = the_business(db, write=True)
    _delete_logos(db, business)
    _save(db, business, {name: value for name, value in (business.brand or {}).items() if name != "logo"})


def _delete_logos(db: ScopedSession, business: Business, besides: str = "") -> None:
    for old in db.scalars(select(Picture).where(Picture.noun_id == business.business_id, Picture.id != besides)):
        db.delete(old)


def _save(db: ScopedSession, business: Business, brand: dict[str, Any]) -> None:
    if brand != business.brand:
        business.brand = brand
        emit(db, "business.brand_changed", business_id=business.business_id, noun=business.business_id, data={"brand": brand})
