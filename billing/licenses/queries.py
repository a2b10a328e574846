"""Lists license keys with their activations, in two statements."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import and_, select

from billing.model.catalogue import Product
from billing.model.licenses import LicenseInstance, LicenseKey, match_key
from billing.model.subscriptions import Subscription
from core.db import ScopedSession


@dataclass(slots=True)
class ActivationRow:
    id: str
    name: str
    created_at: datetime


@dataclass(slots=True)
class KeyRow:
    business_id: str
    id: str
    key: str
    status: str
    limit: int | None
    used: int
    expires_at: datetime | None
    created_at: datetime
    product_id: str
    name: str
    message: str | None
    payment_id: str | None
    subscription_id: str | None
    subscription_status: str | None
    revoked_at: datetime | None = None  # its purchase was refunded in full
    instances: list[ActivationRow] = field(default_factory=list)


def has_keys(db: ScopedSession, subscription_id: str) -> bool:
    """Return whether a subscription has license keys that are not expired."""
    mine = select(LicenseKey.id).where(LicenseKey.subscription_id == subscription_id, LicenseKey.state != "expired")
    return db.scalar(mine.limit(1)) is not None


def keys(
    db: ScopedSession,
    *,
    payment_id: str | None = None,
    prefix: str | None = None,
    before: tuple[datetime, str] | None = None,
    limit: int = 50,
) -> list[KeyRow]:
    """Return keys, newest first. `prefix`: keys that start with it, in any case. `before`: (created_at, id) of the last key shown."""
    query = (
        select(
            LicenseKey.business_id,
            LicenseKey.id,
            LicenseKey.key,
            LicenseKey.state,
            LicenseKey.activations_limit,
            LicenseKey.instances_count,
            LicenseKey.expires_at,
            LicenseKey.created_at,
            LicenseKey.product_id,
            Product.name,
            Product.license_key_message,
            LicenseKey.payment_id,
            LicenseKey.subscription_id,
            Subscription.status,
            LicenseKey.revoked_at,
        )
        .join(Product, and_(Product.business_id == LicenseKey.business_id, Product.id == LicenseKey.product_id))
        .outerjoin(Subscription, and_(Subscription.business_id == LicenseKey.business_id, Subscription.id == LicenseKey.subscription_id))
        .order_by(LicenseKey.created_at.desc(), LicenseKey.id.desc())
        .limit(limit)
    )
    if payment_id:
        query = query.where(LicenseKey.payment_id == payment_id)
    if prefix:
        start = match_key(prefix)
        query = query.where(LicenseKey.match_key >= start, LicenseKey.match_key < start + "\U0010ffff")
    if before:
        at, item = before
        query = query.where((LicenseKey.created_at < at) | ((LicenseKey.created_at == at) & (LicenseKey.id < item)))
    found = {row[1]: KeyRow(*tuple(row)) for row in db.execute(query)}
    if found:
        activations = (
            select(LicenseInstance.license_key_id, LicenseInstance.id, LicenseInstance.name, LicenseInstance.created_at)
            .where(LicenseInstance.license_key_id.in_(list(found)))
            .order_by(LicenseInstance.created_at)
        )
        for key_id, instance_id, name, since in db.execute(activations):
            found[key_id].instances.append(ActivationRow(instance_id, name, since))
    return list(found.values())
