"""Activates and deactivates license keys for programs that use them."""

from __future__ import annotations

from sqlalchemy import select

from billing.model.events import emit_about
from billing.model.licenses import LicenseInstance, LicenseKey
from core import clock
from core.db import ScopedSession
from core.errors import N_, Forbidden, Invalid, NotFound
from core.ids import new_id

NAME_LIMIT = 200


def is_usable(key: LicenseKey) -> bool:
    return key.state == "active"


def activate(db: ScopedSession, license_key_id: str, name: str) -> tuple[LicenseInstance, LicenseKey]:
    """Add an activation. Raises NotFound, Forbidden (INACTIVE_LICENSE_KEY), Invalid (name, LICENSE_KEY_LIMIT_REACHED)."""
    key = _locked(db, license_key_id)
    if not is_usable(key):
        raise Forbidden("INACTIVE_LICENSE_KEY", N_("This license key is not active."))
    name = " ".join(name.split())
    if not name or len(name) > NAME_LIMIT:
        raise Invalid(sentence=f"name: 1 to {NAME_LIMIT} characters.", fields={"name": f"1 to {NAME_LIMIT} characters."})
    if key.activations_limit is not None and key.instances_count >= key.activations_limit:
        raise Invalid("LICENSE_KEY_LIMIT_REACHED", f"This key has used {key.instances_count} of its {key.activations_limit} activations.")
    license_instance = LicenseInstance(
        business_id=key.business_id, customer_id=key.customer_id, id=new_id("lki"), license_key_id=key.id, name=name, created_at=clock.now()
    )
    db.add(license_instance)
    key.instances_count += 1
    emit_about(db, key, "license_key.activated", instance_id=license_instance.id)
    return license_instance, key


def deactivate(db: ScopedSession, license_key_id: str, instance_id: str) -> LicenseKey:
    """Remove an activation. Returns its key. Raises NotFound (no such activation), Forbidden (it belongs to another key)."""
    key = _locked(db, license_key_id)
    license_instance = db.scalar(select(LicenseInstance).where(LicenseInstance.id == instance_id))
    if license_instance is None:
        raise NotFound("LICENSE_KEY_INSTANCE_NOT_FOUND", N_("There is no such activation."))
    if license_instance.license_key_id != key.id:
        raise Forbidden("LICENSE_KEY_INSTANCE_MISMATCH", N_("This activation belongs to another license key."))
    db.delete(license_instance)
    key.instances_count = max(key.instances_count - 1, 0)
    emit_about(db, key, "license_key.deactivated", instance_id=license_instance.id)
    return key


def _locked(db: ScopedSession, license_key_id: str) -> LicenseKey:
    key = db.scalar(select(LicenseKey).where(LicenseKey.id == license_key_id).with_for_update())
    if key is None:
        raise NotFound("LICENSE_KEY_NOT_FOUND", N_("There is no such license key."))
    return key
