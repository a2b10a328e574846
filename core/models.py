"""The base class of tables, the four kinds of ownership, and the column types.

Owned tables have the primary key (business_id, id). They can be partitioned by business, and a unique violation cannot
reveal rows of another business. Kinds (safety 1.1):

* CustomerOwned  belongs to one customer of one business; readable by that customer and the business
* Catalogue      belongs to a business; readable by the business and its customers
* BusinessOwned  readable by staff, API keys and the system of that business only
* PersonOwned    belongs to an identity, without a business

Other tables need the scope `everything`, unless they set `__open__ = "open"` (usable in every scope) or
`__open__ = "insert"` (every scope may insert, only `everything` may read).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, ForeignKey, ForeignKeyConstraint, MetaData, String, TypeDecorator
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column


class UTCDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime: timestamptz on PostgreSQL, sortable text of fixed width on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Any) -> Any:
        return dialect.type_descriptor(String(27) if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Any) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime is not an instant")
        value = value.astimezone(UTC)
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Any) -> datetime | None:
        if value is None:
            return None
        if isinstance(value, str):
            return datetime.fromisoformat(value)
        at: datetime = value.astimezone(UTC)
        return at


JSONType = JSON().with_variant(JSONB(), "postgresql")


class Base(DeclarativeBase):
    type_annotation_map = {datetime: UTCDateTime, dict[str, Any]: JSONType, list[Any]: JSONType, str: String, int: BigInteger}
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class CustomerOwned:
    @declared_attr
    def business_id(cls) -> Mapped[str]:
        return mapped_column(ForeignKey("businesses.business_id"), primary_key=True, sort_order=-3)

    @declared_attr
    def id(cls) -> Mapped[str]:
        return mapped_column(primary_key=True, sort_order=-2)

    @declared_attr
    def customer_id(cls) -> Mapped[str]:
        return mapped_column(nullable=False, sort_order=-1)


class Catalogue:
    @declared_attr
    def business_id(cls) -> Mapped[str]:
        return mapped_column(ForeignKey("businesses.business_id"), primary_key=True, sort_order=-3)

    @declared_attr
    def id(cls) -> Mapped[str]:
        return mapped_column(primary_key=True, sort_order=-2)


class BusinessOwned:
    @declared_attr
    def business_id(cls) -> Mapped[str]:
        return mapped_column(ForeignKey("businesses.business_id"), primary_key=True, sort_order=-3)

    @declared_attr
    def id(cls) -> Mapped[str]:
        return mapped_column(primary_key=True, sort_order=-2)


class PersonOwned:
    @declared_attr
    def identity_id(cls) -> Mapped[str]:
        return mapped_column(ForeignKey("identities.identity_id"), primary_key=True, sort_order=-3)

    @declared_attr
    def id(cls) -> Mapped[str]:
        return mapped_column(primary_key=True, sort_order=-2)


KINDS: tuple[type, ...] = (CustomerOwned, Catalogue, BusinessOwned, PersonOwned)


def of_customer() -> ForeignKeyConstraint:
    """Return the foreign key to the owning customer. It comes first in the `__table_args__` of every CustomerOwned table."""
    return ForeignKeyConstraint(["business_id", "customer_id"], ["customers.business_id", "customers.customer_id"])


def within_customer(column: str, target: str, at_commit: bool = False) -> ForeignKeyConstraint:
    """Return a foreign key column → target.id to a row of the same customer of the same business.

    `at_commit`: check at the end of the transaction, because both rows may be new in one flush.
    """
    return ForeignKeyConstraint(
        ["business_id", "customer_id", column],
        [f"{target}.business_id", f"{target}.customer_id", f"{target}.id"],
        deferrable=at_commit or None,
        initially="DEFERRED" if at_commit else None,
    )


def within_business(column: str, target: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["business_id", column], [f"{target}.business_id", f"{target}.id"])


def kind_of(mapped: type) -> type | None:
    return next((kind for kind in KINDS if issubclass(mapped, kind)), None)


def tables_by_kind() -> dict[str, type | None | str]:
    """Map each table name to its kind, 'open', 'insert', or None (`everything` only)."""
    out: dict[str, type | None | str] = {}
    for mapper in Base.registry.mappers:
        name = mapper.local_table.name  # type: ignore[attr-defined]
        out[name] = kind_of(mapper.class_) or getattr(mapper.class_, "__open__", None)
    return out


def mapped(table: str) -> Any:
    """Return the mapped class of a table, for packages that may not import the one that defines it."""
    return next(mapper.class_ for mapper in Base.registry.mappers if mapper.local_table.name == table)  # type: ignore[attr-defined]


def dumps(value: Any) -> str:
    """Return JSON with a stable key order."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
