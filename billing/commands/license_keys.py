"""Licence keys that a business brings along, and what it changes about any of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from billing import lifecycle
from billing.catalogue import Product
from billing.licences import LicenseInstance, LicenseKey, key_status
from billing.lifecycle import LICENCE
from billing.parties import Customer
from billing.subscriptions import Subscription
from core import clock
from core.db import ScopedSession
from core.errors import BadRequest, Conflict, Invalid, NotFound
from core.ids import new_id
from core.outbox import emit


def bring_key(
    db: ScopedSession, *, customer_id: str, product_id: str, key: str, activations_limit: int | None = None,
    expires_at: datetime | None = None,
) -> LicenseKey:
    """A key made elsewhere. Raises NotFound (customer, product), Conflict (this business has it already), Invalid (expired already)."""
    customer = db.scalar(select(Customer).where(Customer.customer_id == customer_id))
    product = db.scalar(select(Product).where(Product.id == product_id))
    if customer is None or product is None:
        noun, one = ("customer", customer_id) if customer is None else ("product", product_id)
        raise NotFound(sentence=f"There is no {noun} {one[:80]}.")
    if expires_at is not None and expires_at <= clock.now():
        raise Invalid(sentence="expires_at: this is in the past.", fields={"expires_at": "In the past."})
    taken = Conflict("LICENSE_KEY_ALREADY_EXISTS", "This key is in use already.")
    if db.scalar(select(LicenseKey.id).where(LicenseKey.key == key)):
        raise taken
    row = LicenseKey(
        business_id=customer.business_id, customer_id=customer_id, id=new_id("lic"), brand_id=product.brand_id, product_id=product.id,
        key=key, status="active", source="import", activations_limit=activations_limit, instances_count=0, expires_at=expires_at,
        created_at=clock.now(),
    )  # fmt: skip
    db.add(row)
    try:
        db.flush()
    except IntegrityError:
        raise taken from None
    emit(db, "license_key.created", business_id=row.business_id, customer_id=customer_id, noun=row.id)
    return row


def change_key(db: ScopedSession, key_id: str, **changes: Any) -> LicenseKey:
    """`activations_limit` (None: any number), `expires_at` (None: never), `disabled`: whether the business keeps it from working.
    A key that the business enables still waits for its subscription while that is paused, on hold or over.

    Raises NotFound, Invalid (below what is in use), BadRequest (a subscription's key ends with it), Conflict (its subscription is over).
    """
    row = db.scalar(select(LicenseKey).where(LicenseKey.id == key_id).with_for_update())
    if row is None:
        raise NotFound("LICENSE_KEY_NOT_FOUND", "There is no such licence key.")
    if changes.get("expires_at") is not None and row.subscription_id:
        raise BadRequest("NO_EXPIRY_ON_SUBSCRIPTION_LICENSE_KEYS", "This key lives as long as its subscription.")
    limit = changes.get("activations_limit")
    if limit is not None and limit < row.instances_count:
        raise Invalid("ACTIVATION_LIMIT_LESS_THAN_CURRENT_AMOUNT", f"This key is in use in {row.instances_count} places.",
                      fields={"activations_limit": f"{row.instances_count} or more."})  # fmt: skip
    disabled = changes.pop("disabled", None)
    for name, value in changes.items():
        setattr(row, name, value)
    if disabled is not None:
        if row.status == "expired":
            raise Conflict("INACTIVE_LICENSE_KEY", "This key has ended for good.")
        lifecycle.move(LICENCE, row.status, "disable" if disabled else "enable")
        row.disabled_by_business_at = clock.now() if disabled else None
        row.revoked_at = row.revoked_at if disabled else None
        key = row
        key.status = key_status(row, db.scalar(select(Subscription.status).where(Subscription.id == row.subscription_id)))
    emit(db, "license_key.updated", business_id=row.business_id, customer_id=row.customer_id, noun=row.id,
         data={"fields": sorted([*changes, *(["status"] if disabled is not None else [])])})  # fmt: skip
    return row


def rename_instance(db: ScopedSession, instance_id: str, name: str) -> LicenseInstance:
    row = db.scalar(select(LicenseInstance).where(LicenseInstance.id == instance_id))
    if row is None:
        raise NotFound("LICENSE_KEY_INSTANCE_NOT_FOUND", "There is no such activation.")
    row.name = name
    emit(db, "license_key.updated", business_id=row.business_id, customer_id=row.customer_id, noun=row.license_key_id,
         data={"fields": ["instance"]})  # fmt: skip
    return row
