"""Changes of the price that existing subscribers of a product pay, and what they mean for each subscription."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped

from core.models import Base, Catalogue, CustomerOwned, of_customer, within_business, within_customer


class PriceChange(Base, Catalogue):
    """A new price for the existing subscribers of a product, from their first renewal on or after `effective_at`."""

    __tablename__ = "price_changes"
    __table_args__ = (
        within_business("product_id", "products"),
        CheckConstraint("unit_minor >= 0", name="unit"),
        Index("ix_price_changes_product", "business_id", "product_id", "created_at"),
        Index("ix_price_changes_running", "business_id", "planned_at", sqlite_where=text("stopped_at IS NULL"),
              postgresql_where=text("stopped_at IS NULL")),
    )  # fmt: skip

    product_id: Mapped[str]
    currency: Mapped[str]
    unit_minor: Mapped[int]  # the new price of one unit and period, with tax where the subscription's price includes it
    direction: Mapped[str]  # raise: for those who pay less; lower: for those who pay more
    effective_at: Mapped[datetime]
    created_at: Mapped[datetime]
    planned_at: Mapped[datetime | None]  # when the subscribers were last looked through to the end
    stopped_at: Mapped[datetime | None]


class SubscriptionPriceChange(Base, CustomerOwned):
    """The change of one subscription. Amounts in minor units of `currency`; the totals are of one period, tax and discounts included.

    `status`: see lifecycle.PRICE_CHANGE. At most one per subscription is open.
    """

    __tablename__ = "subscription_price_changes"
    __table_args__ = (
        of_customer(),
        within_customer("subscription_id", "subscriptions"),
        within_business("price_change_id", "price_changes"),
        UniqueConstraint("business_id", "price_change_id", "subscription_id"),
        Index(
            "uq_subscription_price_changes_open",
            "business_id",
            "subscription_id",
            unique=True,
            sqlite_where=text("status IN ('planned', 'announced')"),
            postgresql_where=text("status IN ('planned', 'announced')"),
        ),
        Index("ix_subscription_price_changes_due", "status", "announce_at"),
    )

    price_change_id: Mapped[str]
    subscription_id: Mapped[str]
    status: Mapped[str]
    currency: Mapped[str]
    old_unit_minor: Mapped[int]
    unit_minor: Mapped[int]
    old_total_minor: Mapped[int]
    total_minor: Mapped[int]
    needs_consent: Mapped[bool]
    jurisdiction: Mapped[str | None]  # as the table of rights names it; None: not known
    announce_at: Mapped[datetime]
    announced_at: Mapped[datetime | None]
    applies_at: Mapped[datetime]  # the first renewal with the new price
    answer: Mapped[str | None]  # accepted, refused
    answered_at: Mapped[datetime | None]
