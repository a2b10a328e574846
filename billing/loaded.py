"""What came from elsewhere: records as their source tells them, and which row here each of them became."""

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
    """What one account calls one of our rows: (account, kind, reference) → the row's id here, which we chose.

    `digest` of what was said of it last; empty while it was only mentioned by another row.
    """

    __tablename__ = "source_ids"
    __table_args__ = (UniqueConstraint("business_id", "account_id", "kind", "reference"),
                      UniqueConstraint("business_id", "kind", "row_id"))

    account_id: Mapped[str]
    kind: Mapped[str]
    reference: Mapped[str]
    row_id: Mapped[str]
    digest: Mapped[str]
    loaded_at: Mapped[datetime]


def source_key(account_id: str, kind: str, reference: str) -> str:
    """`SourceId.id`."""
    return f"{account_id}/{kind}/{reference}"
