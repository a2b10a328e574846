"""Licence keys and where they are in use."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from billing.provenance import FromAccount
from core.models import Base, CustomerOwned, of_customer, within_business, within_customer


class LicenseKey(Base, CustomerOwned, FromAccount):
    """`status`: active, expired, disabled. A subscription's key follows the subscription and has no expiry of its own.

    A key may be disabled for several reasons at once, each a fact of its own: the business disabled it, its purchase was refunded, or
    its subscription is paused, on hold or over. It works again when none of them holds (`key_status`).
    """

    __tablename__ = "license_keys"
    __table_args__ = (
        of_customer(),
        within_business("product_id", "products"),
        within_customer("subscription_id", "subscriptions"),
        within_customer("payment_id", "payments"),
        UniqueConstraint("business_id", "customer_id", "id"),
        UniqueConstraint("business_id", "key"),
        Index("ix_license_keys_customer", "business_id", "customer_id", "created_at"),
        Index("ix_license_keys_key", "key"),  # programs validate a key before anybody knows whose it is
    )

    brand_id: Mapped[str]
    product_id: Mapped[str]
    subscription_id: Mapped[str | None]
    payment_id: Mapped[str | None]
    key: Mapped[str]
    status: Mapped[str] = mapped_column(default="active")
    source: Mapped[str] = mapped_column(default="auto")
    activations_limit: Mapped[int | None]
    instances_count: Mapped[int] = mapped_column(default=0)
    expires_at: Mapped[datetime | None]
    disabled_by_business_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]  # its purchase was refunded in full
    created_at: Mapped[datetime]


def key_status(key: LicenseKey, subscription_status: str | None) -> str:
    """The status of a key that has not ended for good. `subscription_status`: None for a key without a subscription."""
    withheld = key.disabled_by_business_at is not None or key.revoked_at is not None
    return "disabled" if withheld or subscription_status not in (None, "active", "past_due") else "active"


class LicenseInstance(Base, CustomerOwned, FromAccount):
    __tablename__ = "license_instances"
    __table_args__ = (of_customer(), within_customer("license_key_id", "license_keys"),
                      Index("ix_license_instances_key", "business_id", "license_key_id"))

    license_key_id: Mapped[str]
    name: Mapped[str]
    created_at: Mapped[datetime]
