"""Licence keys and where they are in use."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Index, String, UniqueConstraint, and_, case
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column, validates

from billing.provenance import FromAccount
from core import clock
from core.models import Base, CustomerOwned, of_customer, within_business, within_customer


class LicenseKey(Base, CustomerOwned, FromAccount):
    """A subscription's key follows the subscription and has no expiry of its own.

    `status` is what is stored; `state` is what everybody is shown and what decides: active, expired or disabled.
    `match_key` is the key as it is looked up, see `match_key()`. Two keys may share it: the exact spelling decides then.

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
        Index("ix_license_keys_match", "match_key"),  # programs validate a key before anybody knows whose it is
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
        """The state now: an active key past its end is expired."""
        return "expired" if self.status == "active" and self.expires_at is not None and self.expires_at <= clock.now() else self.status

    @state.inplace.expression
    @classmethod
    def _state(cls) -> ColumnElement[str]:
        return case((and_(cls.status == "active", cls.expires_at.is_not(None), cls.expires_at <= clock.now()), "expired"), else_=cls.status)


def match_key(text: str) -> str:
    """A typed key for comparison: without surrounding space (invisible characters included) and without case."""
    return text.strip().strip("\u200b\u2060\ufeff").strip().casefold()


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
