"""Licence keys as pages show them: with the product, and where each is in use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import and_, select

from billing.catalogue import Product
from billing.licences import LicenseInstance, LicenseKey
from core.db import ScopedSession
from core.errors import NotFound


@dataclass(slots=True)
class InstanceRow:
    id: str
    name: str
    created_at: datetime


@dataclass(slots=True)
class KeyRow:
    """`limit` None: as many places as one likes. `used` is how many there are."""

    business_id: str
    customer_id: str
    id: str
    key: str
    status: str
    limit: int | None
    used: int
    expires_at: datetime | None
    created_at: datetime
    subscription_id: str | None
    payment_id: str | None
    product_id: str
    name: str
    message: str | None
    instances: list[InstanceRow] = field(default_factory=list)


_KEYS = (
    select(
        LicenseKey.business_id, LicenseKey.customer_id, LicenseKey.id, LicenseKey.key, LicenseKey.status, LicenseKey.activations_limit,
        LicenseKey.instances_count, LicenseKey.expires_at, LicenseKey.created_at, LicenseKey.subscription_id, LicenseKey.payment_id,
        LicenseKey.product_id, Product.name, Product.license_key_message,
    )
    .join(Product, and_(Product.business_id == LicenseKey.business_id, Product.id == LicenseKey.product_id))
    .order_by(LicenseKey.created_at.desc(), LicenseKey.id)
)  # fmt: skip


def keys(db: ScopedSession, *, limit: int = 500) -> list[KeyRow]:
    """Every key of the scope, newest first, with its places of use."""
    return _with_places(db, [KeyRow(*row) for row in db.execute(_KEYS.limit(limit))])


def key(db: ScopedSession, key_id: str) -> KeyRow:
    """Raises NotFound."""
    row = db.execute(_KEYS.where(LicenseKey.id == key_id)).first()
    if row is None:
        raise NotFound(sentence="There is no such licence key.")
    return _with_places(db, [KeyRow(*row)])[0]


def _with_places(db: ScopedSession, rows: Sequence[KeyRow]) -> list[KeyRow]:
    mine = {(row.business_id, row.id): row for row in rows if row.used}
    if mine:
        places = select(LicenseInstance).where(LicenseInstance.license_key_id.in_([id for _, id in mine]))
        for one in db.scalars(places.order_by(LicenseInstance.created_at)):
            if owner := mine.get((one.business_id, one.license_key_id)):
                owner.instances.append(InstanceRow(one.id, one.name, one.created_at))
    return list(rows)
