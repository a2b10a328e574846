"""Finds and validates license keys by their text, with or without a business."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from billing.licenses.activations import is_usable
from billing.model.catalogue import Product
from billing.model.licenses import LicenseInstance, LicenseKey, match_key
from billing.model.parties import Business, Customer
from core.db import Database, ScopedSession
from core.errors import NotFound
from core.scope import everything

_SPELLINGS = 100  # maximum number of keys that differ only in case


@dataclass(frozen=True)
class LicenseMatch:
    business_id: str
    id: str
    archived: bool


def by_text(database: Database, text: str, business_id: str | None = None) -> LicenseMatch | None:
    """Find a key by its text, ignoring surrounding space and case. Of several that differ only in case, the exact spelling counts.

    Without a business only keys that were made here are found. These cannot be guessed, and a mirrored account cannot import the same
    text to make the key of another business ambiguous.
    """
    query = (
        select(LicenseKey.business_id, LicenseKey.id, Business.archived_at, LicenseKey.key)
        .join(Business, Business.business_id == LicenseKey.business_id)
        .where(LicenseKey.match_key == match_key(text))
    )
    query = (
        query.where(LicenseKey.business_id == business_id)
        if business_id
        else query.where(LicenseKey.source == "auto", LicenseKey.account_id.is_(None))
    )
    with database.open(everything(why="license key by its text")) as db:
        rows = db.execute(query.limit(_SPELLINGS)).all()
    exact = [row for row in rows if row[3] == text.strip()]
    rows = exact if len(rows) > 1 else rows
    return LicenseMatch(rows[0][0], rows[0][1], rows[0][2] is not None) if len(rows) == 1 else None


def owner(db: ScopedSession, key: LicenseKey) -> tuple[Customer, str | None]:
    """Return (the customer, the product's name). Raises NotFound."""
    customer = db.scalar(select(Customer).where(Customer.customer_id == key.customer_id))
    if customer is None:
        raise NotFound()
    return customer, db.scalar(select(Product.name).where(Product.id == key.product_id))


def is_valid(db: ScopedSession, license_key_id: str, instance_id: str | None) -> bool:
    """Return whether the key is usable and, if an activation is given, whether it belongs to the key."""
    key = db.scalar(select(LicenseKey).where(LicenseKey.id == license_key_id))
    if key is None or not is_usable(key):
        return False
    if instance_id is None:
        return True
    activation = select(LicenseInstance.id).where(LicenseInstance.id == instance_id, LicenseInstance.license_key_id == license_key_id)
    return db.scalar(activation) is not None
