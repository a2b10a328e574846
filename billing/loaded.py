"""What came from elsewhere: one row per thing that was loaded, under the id it has there. Loading it again finds it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped

from core.models import Base, BusinessOwned


class SourceId(Base, BusinessOwned):
    """`id` is the kind and the id in the source (`payment/pay_1`), which is the id here too; `digest` of what was said of it last."""

    __tablename__ = "source_ids"
    __table_args__ = (UniqueConstraint("business_id", "source", "id"),)

    source: Mapped[str]
    digest: Mapped[str]
    loaded_at: Mapped[datetime]
