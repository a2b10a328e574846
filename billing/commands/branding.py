"""How a business's door looks: accent, corners, typeface, light or dark, and its logo. Nothing it typed is copied into a page."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import select

from billing.commands.rules import the_business
from billing.parties import Business
from billing.pictures import Picture
from core import clock
from core.brand import clean_brand
from core.db import ScopedSession
from core.outbox import emit


def change_brand(db: ScopedSession, *, accent: str, radius: str, font: str, mode: str) -> None:
    """Raises Invalid with a sentence per field."""
    chosen = clean_brand(accent, radius, font, mode)
    business = the_business(db, write=True)
    _keep(db, business, {**(business.brand or {}), **chosen})


def put_logo(db: ScopedSession, png: bytes) -> str:
    """`png`: what `core.logo.clean_logo` made. The id is made of its bytes, so that a new picture has a new address and the old
    one can be kept by browsers for ever. Returns the id."""
    business = the_business(db, write=True)
    id = f"logo-{hashlib.sha256(png).hexdigest()[:32]}"
    _drop(db, business, besides=id)
    if db.scalar(select(Picture.id).where(Picture.id == id)) is None:
        db.add(Picture(business_id=business.business_id, id=id, noun_id=business.business_id, png=png, created_at=clock.now()))
    _keep(db, business, {**(business.brand or {}), "logo": id})
    return id


def drop_logo(db: ScopedSession) -> None:
    business = the_business(db, write=True)
    _drop(db, business)
    _keep(db, business, {name: value for name, value in (business.brand or {}).items() if name != "logo"})


def _drop(db: ScopedSession, business: Business, besides: str = "") -> None:
    for old in db.scalars(select(Picture).where(Picture.noun_id == business.business_id, Picture.id != besides)):
        db.delete(old)


def _keep(db: ScopedSession, business: Business, brand: dict[str, Any]) -> None:
    if brand != business.brand:
        business.brand = brand
        emit(db, "business.brand_changed", business_id=business.business_id, noun=business.business_id, data={"brand": brand})
