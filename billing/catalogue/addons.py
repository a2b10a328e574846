"""Create, change and archive add-ons. An add-on extends a plan and has the plan's currency."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from billing.model.catalogue import Addon
from billing.pricing.limits import check_amount, check_currency
from core import clock
from core.db import ScopedSession
from core.errors import N_, Gone, NotFound
from core.ids import new_id
from core.outbox import emit


def create_addon(
    db: ScopedSession,
    business_id: str,
    *,
    name: str,
    currency: str,
    price: int,
    tax_category: str = "digital_products",
    description: str = "",
) -> Addon:
    """Create an add-on. `price` in minor units. Raises Invalid (currency, price)."""
    check_currency(currency)
    check_amount(price, currency)
    at = clock.now()
    addon = Addon(
        business_id=business_id,
        id=new_id("adn"),
        name=name,
        description=description,
        currency=currency,
        price_minor=price,
        tax_category=tax_category,
        created_at=at,
        updated_at=at,
    )
    db.add(addon)
    db.flush()
    emit(db, "addon.created", business_id=business_id, noun=addon.id, data={"name": name})
    return addon


def update_addon(db: ScopedSession, addon_id: str, **changes: Any) -> Addon:
    """Change name, description, currency, price_minor, tax_category or image. Existing subscribers keep their price.

    Raises NotFound, Invalid.
    """
    addon = load_addon(db, addon_id)
    if "currency" in changes:
        check_currency(changes["currency"])
    check_amount(changes.get("price_minor", addon.price_minor), changes.get("currency", addon.currency))
    for name, value in changes.items():
        setattr(addon, name, value)
    addon.updated_at = clock.now()
    emit(db, "addon.updated", business_id=addon.business_id, noun=addon.id, data={"fields": sorted(changes)})
    return addon


def archive_addon(db: ScopedSession, addon_id: str) -> Addon:
    """Stop selling an add-on; existing subscribers keep it. Raises NotFound, Gone if already archived."""
    addon = load_addon(db, addon_id)
    if addon.archived_at is not None:
        raise Gone("ADDON_IS_DELETED", N_("This add-on is already archived."))
    addon.archived_at = addon.updated_at = clock.now()
    emit(db, "addon.archived", business_id=addon.business_id, noun=addon.id)
    return addon


def unarchive_addon(db: ScopedSession, addon_id: str) -> Addon:
    """Sell an archived add-on again. Idempotent. Raises NotFound."""
    addon = load_addon(db, addon_id)
    if addon.archived_at is None:
        return addon
    addon.archived_at, addon.updated_at = None, clock.now()
    emit(db, "addon.unarchived", business_id=addon.business_id, noun=addon.id)
    return addon


def load_addon(db: ScopedSession, addon_id: str) -> Addon:
    addon = db.scalar(select(Addon).where(Addon.id == addon_id))
    if addon is None:
        raise NotFound(sentence=f"There is no add-on {addon_id[:80]}.")
    return addon
