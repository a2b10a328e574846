"""Pictures of what is sold. Uploaded by the business, kept as our own small PNG, shown to anybody who knows the address."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import LargeBinary
from sqlalchemy.orm import Mapped, deferred, mapped_column

from core.models import Base, Catalogue


class Picture(Base, Catalogue):
    """`noun_id`: the product, add-on or collection it was asked for. No `png`: it was announced, and not uploaded yet."""

    __tablename__ = "pictures"

    noun_id: Mapped[str]
    png: Mapped[bytes | None] = deferred(mapped_column(LargeBinary))
    created_at: Mapped[datetime]

    @property
    def path(self) -> str:
        return f"/api/images/{self.business_id}/{self.id}.png"
