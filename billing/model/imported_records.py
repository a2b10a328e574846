"""Records of other billing systems in the form of their source, and the rows that they became here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped

from core.models import Base, BusinessOwned, dumps

KINDS = (
    "addon",
    "product",
    "collection",
    "customer",
    "payment_method",
    "subscription",
    "invoice",
    "payment",
    "refund",
    "license_key",
    "license_key_instance",
)
"""Kinds of records in the order in which they are written. Each refers only to kinds before it."""


@dataclass(frozen=True)
class Reference:
    """A reference in `field` to another record of this kind and id. It belongs to the same customer if `same_customer`."""

    field: str
    kind: str
    id: str
    same_customer: bool = False


@dataclass(frozen=True)
class Record:
    """One record of the source. `values` become columns of its row, and `more` is used for related rows."""

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
        content = dumps([self.values, self.more, self.customer_id])
        return hashlib.sha256(content.encode()).hexdigest()[:32]


class SourceId(Base, BusinessOwned):
    """Maps the reference of a record in an account, (account, kind, reference), to the id of its row here.

    `digest` is the hash of the record's latest content. It is empty if only another record has mentioned it so far.
    """

    __tablename__ = "source_ids"
    __table_args__ = (UniqueConstraint("business_id", "account_id", "kind", "reference"), UniqueConstraint("business_id", "kind", "row_id"))

    account_id: Mapped[str]
    kind: Mapped[str]
    reference: Mapped[str]
    row_id: Mapped[str]
    digest: Mapped[str]
    loaded_at: Mapped[datetime]


def source_key(account_id: str, kind: str, reference: str) -> str:
    """Return `SourceId.id`."""
    return f"{account_id}/{kind}/{reference}"
