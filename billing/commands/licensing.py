"""Licence keys in use: a program says that it runs under a key, and that it does so no longer."""

from __future__ import annotations

from sqlalchemy import select

from billing.licences import LicenseInstance, LicenseKey
from core import clock
from core.db import ScopedSession
from core.errors import Forbidden, Invalid, NotFound
from core.ids import new_id
from core.outbox import emit

NAME_LIMIT = 200


def is_usable(key: LicenseKey) -> bool:
    return key.state == "active"


def activate(db: ScopedSession, license_key_id: str, name: str) -> tuple[LicenseInstance, LicenseKey]:
    """One more place of use. Raises NotFound, Forbidden (INACTIVE_LICENSE_KEY), Invalid (name, LICENSE_KEY_LIMIT_REACHED)."""
    key = _locked(db, license_key_id)
    if not is_usable(key):
        raise Forbidden("INACTIVE_LICENSE_KEY", "This licence key is not active.")
    name = " ".join(name.split())
    if not name or len(name) > NAME_LIMIT:
        raise Invalid(sentence=f"name: 1 to {NAME_LIMIT} characters.", fields={"name": f"1 to {NAME_LIMIT} characters."})
    if key.activations_limit is not None and key.instances_count >= key.activations_limit:
        raise Invalid("LICENSE_KEY_LIMIT_REACHED", f"This key is in use in {key.instances_count} of {key.activations_limit} places.")
    one = LicenseInstance(
        business_id=key.business_id, customer_id=key.customer_id, id=new_id("lki"), license_key_id=key.id, name=name, created_at=clock.now()
    )
    db.add(one)
    key.instances_count += 1
    _note(db, key, "license_key.activated", one)
    return one, key


def deactivate(db: ScopedSession, license_key_id: str, instance_id: str) -> LicenseKey:
    """Free one place of use. Returns its key. Raises NotFound (no such place), Forbidden (it is another key's)."""
    key = _locked(db, license_key_id)
    one = db.scalar(select(LicenseInstance).where(LicenseInstance.id == instance_id))
    if one is None:
        raise NotFound("LICENSE_KEY_INSTANCE_NOT_FOUND", "There is no such activation.")
    if one.license_key_id != key.id:
        raise Forbidden("LICENSE_KEY_INSTANCE_MISMATCH", "This activation belongs to another licence key.")
    db.delete(one)
    key.instances_count = max(key.instances_count - 1, 0)
    _note(db, key, "license_key.deactivated", one)
    return key


def _locked(db: ScopedSession, license_key_id: str) -> LicenseKey:
    key = db.scalar(select(LicenseKey).where(LicenseKey.id == license_key_id).with_for_update())
    if key is None:
        raise NotFound("LICENSE_KEY_NOT_FOUND", "There is no such licence key.")
    return key


def _note(db: ScopedSession, key: LicenseKey, type: str, one: LicenseInstance) -> None:
    emit(db, type, business_id=key.business_id, customer_id=key.customer_id, noun=key.id, data={"instance_id": one.id})
