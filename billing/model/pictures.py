"""Pictures of products, add-ons and collections. A business uploads them; they are stored as small PNGs and are public."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import LargeBinary
from sqlalchemy.orm import Mapped, deferred, mapped_column

from core.models import Base, Catalogue


class Picture(Base, Catalogue):
    """`noun_id` is the id of the product, add-on or collection. `png` is None until the picture is uploaded."""

    __tablename__ = "pictures"

    noun_id: Mapped[str]
    png: Mapped[bytes | None] = deferred(mapped_column(LargeBinary))
    created_at: Mapped[datetime]

    @property
    def path(self) -> str:
        return f"/api/images/{self.business_id}/{self.id}.png"
