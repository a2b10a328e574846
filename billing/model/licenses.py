"""License keys and their activations."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Index, String, UniqueConstraint, and_, case
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column, validates

from billing.model.lifecycle import HAS_ACCESS
from billing.model.provenance import FromAccount
from core import clock
from core.models import Base, CustomerOwned, of_customer, within_business, within_customer


class LicenseKey(Base, CustomerOwned, FromAccount):
    """A license key. The key of a subscription follows the subscription and has no expiry of its own.

    `status` is stored; `state` (active, expired, disabled) is shown and checked. `match_key` is the key in the form for look-ups, see
    `match_key()`. If two keys share it, the exact spelling decides.

    A key may be disabled for several reasons at once: the business disabled it, its purchase was refunded, or its subscription is paused,
    on hold or over. It works again when none of these applies (`key_status`).
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
        Index("ix_license_keys_match", "match_key"),  # programs validate a key without knowing its business
    )

    brand_id: Mapped[str]
    product_id: Mapped[str]
    subscription_id: Mapped[str | None]
    payment_id: Mapped[str | None]
    key: Mapped[str]
    match_key: Mapped[str] = mapped_column(String().with_variant(String(collation="C"), "postgresql"), server_default="")
    status: Mapped[str] = mapped_column(default="active")
    source: Mapped[str] = mapped_column(default="auto")
    activations_limit: Mapped[int | None]
    instances_count: Mapped[int] = mapped_column(default=0)
    expires_at: Mapped[datetime | None]
    disabled_by_business_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]  # its purchase was refunded in full
    created_at: Mapped[datetime]

    @validates("key")
    def _keep_match_key(self, _name: str, key: str) -> str:
        self.match_key = match_key(key)
        return key

    @hybrid_property
    def state(self) -> str:
        """The current state. An active key is expired after `expires_at`."""
        return "expired" if self.status == "active" and self.expires_at is not None and self.expires_at <= clock.now() else self.status

    @state.inplace.expression
    @classmethod
    def _state(cls) -> ColumnElement[str]:
        return case((and_(cls.status == "active", cls.expires_at.is_not(None), cls.expires_at <= clock.now()), "expired"), else_=cls.status)


def match_key(text: str) -> str:
    """Return a typed key for comparison, without surrounding spaces and invisible characters, in lower case."""
    return text.strip().strip("\u200b\u2060\ufeff").strip().casefold()


def key_status(key: LicenseKey, subscription_status: str | None) -> str:
    """Return the status of a key that is not expired. `subscription_status`: None for a key without a subscription."""
    withheld = key.disabled_by_business_at is not None or key.revoked_at is not None
    return "disabled" if withheld or subscription_status not in (None, *HAS_ACCESS) else "active"


class LicenseInstance(Base, CustomerOwned, FromAccount):
    __tablename__ = "license_instances"
    __table_args__ = (
        of_customer(),
        within_customer("license_key_id", "license_keys"),
        Index("ix_license_instances_key", "business_id", "license_key_id"),
    )

    license_key_id: Mapped[str]
    name: Mapped[str]
    created_at: Mapped[datetime]
