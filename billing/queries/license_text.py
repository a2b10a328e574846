"""Finding a licence key by its text, before anybody said whose it is."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from billing.catalogue import Product
from billing.commands.licensing import is_usable
from billing.licences import LicenseInstance, LicenseKey, match_key
from billing.parties import Business, Customer
from core.db import Database, ScopedSession
from core.errors import NotFound
from core.scope import everything

_SPELLINGS = 100  # of one key, that differ only in case


@dataclass(frozen=True)
class Found:
    business_id: str
    id: str
    archived: bool


def by_text(database: Database, text: str, business_id: str | None = None) -> Found | None:
    """The key of this text, surrounding space and case aside. Of several that differ only in case, the exact spelling counts.

    Without a business only keys that were made here resolve: ours cannot be guessed, and no account that is mirrored can say the
    same text to make another business's key ambiguous.
    """
    query = (
        select(LicenseKey.business_id, LicenseKey.id, Business.archived_at, LicenseKey.key)
        .join(Business, Business.business_id == LicenseKey.business_id)
        .where(LicenseKey.match_key == match_key(text))
    )
    query = query.where(LicenseKey.business_id == business_id) if business_id else query.where(LicenseKey.source == "auto",
                                                                                                   LicenseKey.account_id.is_(None))
    with database.open(everything(why="licence key by its text")) as db:
        rows = db.execute(query.limit(_SPELLINGS)).all()
    exact = [row for row in rows if row[3] == text.strip()]
    rows = exact if len(rows) > 1 else rows
    return Found(rows[0][0], rows[0][1], rows[0][2] is not None) if len(rows) == 1 else None


def owner(db: ScopedSession, key: LicenseKey) -> tuple[Customer, str | None]:
    """(the buyer, the product's name)"""
    buyer = db.scalar(select(Customer).where(Customer.customer_id == key.customer_id))
    if buyer is None:
        raise NotFound()
    return buyer, db.scalar(select(Product.name).where(Product.id == key.product_id))


def is_valid(db: ScopedSession, license_key_id: str, instance_id: str | None) -> bool:
    """Usable, and where an activation is named, that activation is this key's."""
    key = db.scalar(select(LicenseKey).where(LicenseKey.id == license_key_id))
    if key is None or not is_usable(key):
        return False
    if instance_id is None:
        return True
    place = select(LicenseInstance.id).where(LicenseInstance.id == instance_id, LicenseInstance.license_key_id == license_key_id)
    return db.scalar(place) is not None
