"""Pictures of products, add-ons and collections: announced, then uploaded, then shown."""

from __future__ import annotations

import uuid

from sqlalchemy import delete, select

from billing.model.catalogue import Addon, Collection, Product
from billing.model.pictures import Picture
from core import clock
from core.db import ScopedSession
from core.errors import NotFound
from core.logo import clean_logo
from core.outbox import emit

_NOUNS: dict[str, type[Product] | type[Addon] | type[Collection]] = {"pdt": Product, "adn": Addon, "pdc": Collection}


def announce_picture(db: ScopedSession, business_id: str, noun_id: str, *, use: bool = False) -> Picture:
    """Create an empty picture. `use`: show it once uploaded; otherwise it is shown once its image_id is set. Raises NotFound."""
    noun = _noun(db, noun_id)
    picture = Picture(business_id=business_id, id=str(uuid.uuid4()), noun_id=noun_id, created_at=clock.wall())
    db.add(picture)
    db.flush()
    if use:
        _show(db, noun, picture)
    return picture


def upload_picture(db: ScopedSession, picture_id: str, raw: bytes) -> Picture:
    """Store the re-encoded bytes (core/logo.py). A second upload replaces the first. Raises NotFound, Invalid (field logo)."""
    picture = _load(db, picture_id)
    picture.png = clean_logo(raw)
    emit(db, "picture.uploaded", business_id=picture.business_id, noun=picture.id, data={"noun_id": picture.noun_id})
    return picture


def set_picture(db: ScopedSession, noun_id: str, picture_id: str | None) -> None:
    """Show this picture, or none. Raises NotFound, also for a picture of another object."""
    noun = _noun(db, noun_id)
    if picture_id is None:
        db.execute(delete(Picture).where(Picture.noun_id == noun_id))
        noun.image = None
        return
    picture = _load(db, picture_id)
    if picture.noun_id != noun_id:
        raise NotFound(sentence=f"There is no image {picture_id[:80]}.")
    _show(db, noun, picture)


def picture_of(db: ScopedSession, picture_id: str) -> bytes:
    """The PNG bytes. Raises NotFound, also before the upload."""
    png = db.scalar(select(Picture.png).where(Picture.id == picture_id))
    if png is None:
        raise NotFound()
    return png


def _show(db: ScopedSession, noun: Product | Addon | Collection, picture: Picture) -> None:
    db.execute(delete(Picture).where(Picture.noun_id == noun.id, Picture.id != picture.id))
    noun.image, noun.updated_at = picture.path, clock.now()


def _load(db: ScopedSession, picture_id: str) -> Picture:
    picture = db.scalar(select(Picture).where(Picture.id == picture_id))
    if picture is None:
        raise NotFound(sentence=f"There is no image {picture_id[:80]}.")
    return picture


def _noun(db: ScopedSession, noun_id: str) -> Product | Addon | Collection:
    model = _NOUNS.get(noun_id[:3])
    noun: Product | Addon | Collection | None = db.scalar(select(model).where(model.id == noun_id)) if model else None  # type: ignore[assignment]
    if noun is None:
        raise NotFound(sentence=f"There is no {noun_id[:80]}.")
    return noun
