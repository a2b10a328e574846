"""What came from elsewhere: one row per thing that was loaded, under the id it has there. Loading it again finds it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped

from core.models import Base, BusinessOwned, dumps

KINDS = ("addon", "product", "collection", "customer", "payment_method", "subscription", "payment", "refund", "license_key",
         "license_key_instance")
"""In the order in which they may be written: each names only what stands before it."""


@dataclass(frozen=True)
class Reference:
    """`field` names the other row: of this kind, under this id, and of the same customer where `same_customer`."""

    field: str
    kind: str
    id: str
    same_customer: bool = False


@dataclass(frozen=True)
class Record:
    """One thing as its source tells it. `values` are columns here, `more` is what its neighbours are made of."""

    kind: str
    id: str
    values: dict[str, Any]
    references: tuple[Reference, ...] = ()
    customer_id: str | None = None
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def source_id(self) -> str:
        return f"{self.kind}/{self.id}"

    @property
    def digest(self) -> str:
        told = dumps([self.values, self.more, self.customer_id])
        return hashlib.sha256(told.encode()).hexdigest()[:32]


class SourceId(Base, BusinessOwned):
    """`id` is the kind and the id in the source (`payment/pay_1`), which is the id here too; `digest` of what was said of it last."""

    __tablename__ = "source_ids"
    __table_args__ = (UniqueConstraint("business_id", "source", "id"),)

    source: Mapped[str]
    digest: Mapped[str]
    loaded_at: Mapped[datetime]
