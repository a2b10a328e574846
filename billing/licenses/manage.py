"""Imports license keys of a business and changes existing ones."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from billing.model import lifecycle
from billing.model.catalogue import Product
from billing.model.events import emit_about
from billing.model.licenses import LicenseInstance, LicenseKey, key_status
from billing.model.lifecycle import LICENSE_KEY
from billing.model.parties import Customer
from billing.model.subscriptions import Subscription
from core import clock
from core.db import ScopedSession
from core.errors import N_, BadRequest, Conflict, Invalid, NotFound
from core.ids import new_id
from core.outbox import emit


def bring_key(
    db: ScopedSession,
    *,
    customer_id: str,
    product_id: str,
    key: str,
    activations_limit: int | None = None,
    expires_at: datetime | None = None,
) -> LicenseKey:
    """Add a key that was made in another system.

    Raises NotFound (customer, product), Conflict (the business already has it), Invalid (already expired).
    """
    customer = db.scalar(select(Customer).where(Customer.customer_id == customer_id))
    product = db.scalar(select(Product).where(Product.id == product_id))
    if customer is None or product is None:
        noun, missing = ("customer", customer_id) if customer is None else ("product", product_id)
        raise NotFound(sentence=f"There is no {noun} {missing[:80]}.")
    if expires_at is not None and expires_at <= clock.now():
        raise Invalid(sentence=N_("expires_at: this date is in the past."), fields={"expires_at": N_("This date is in the past.")})
    taken = Conflict("LICENSE_KEY_ALREADY_EXISTS", N_("This key already exists."))
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
    emit_about(db, row, "license_key.created")
    return row


def change_key(db: ScopedSession, key_id: str, **changes: Any) -> LicenseKey:
    """Change `activations_limit` (None: unlimited), `expires_at` (None: never) or `disabled`.

    A key that the business enables stays disabled while its subscription is paused, on hold or over.
    Raises NotFound, Invalid (limit below the number of activations), BadRequest (expiry of a subscription's key), Conflict (expired key).
    """
    row = db.scalar(select(LicenseKey).where(LicenseKey.id == key_id).with_for_update())
    if row is None:
        raise NotFound("LICENSE_KEY_NOT_FOUND", N_("There is no such license key."))
    if changes.get("expires_at") is not None and row.subscription_id:
        raise BadRequest(
            "NO_EXPIRY_ON_SUBSCRIPTION_LICENSE_KEYS",
            N_("A subscription's key ends with the subscription and cannot have its own expiry date."),
        )
    limit = changes.get("activations_limit")
    if limit is not None and limit < row.instances_count:
        raise Invalid("ACTIVATION_LIMIT_LESS_THAN_CURRENT_AMOUNT", f"This key already has {row.instances_count} activations.",
                      fields={"activations_limit": f"{row.instances_count} or more."})  # fmt: skip
    disabled = changes.pop("disabled", None)
    for name, value in changes.items():
        setattr(row, name, value)
    if disabled is not None:
        if row.status == "expired":
            raise Conflict("INACTIVE_LICENSE_KEY", N_("This key has expired and cannot be changed."))
        lifecycle.move(LICENSE_KEY, row.status, "disable" if disabled else "enable")
        row.disabled_by_business_at = clock.now() if disabled else None
        row.revoked_at = row.revoked_at if disabled else None
        row.status = key_status(row, db.scalar(select(Subscription.status).where(Subscription.id == row.subscription_id)))
    emit_about(db, row, "license_key.updated", fields=sorted([*changes, *(["status"] if disabled is not None else [])]))
    return row


def rename_instance(db: ScopedSession, instance_id: str, name: str) -> LicenseInstance:
    row = db.scalar(select(LicenseInstance).where(LicenseInstance.id == instance_id))
    if row is None:
        raise NotFound("LICENSE_KEY_INSTANCE_NOT_FOUND", N_("There is no such activation."))
    row.name = name
    emit(db, "license_key.updated", business_id=row.business_id, customer_id=row.customer_id, noun=row.license_key_id,
         data={"fields": ["instance"]})  # fmt: skip
    return row
