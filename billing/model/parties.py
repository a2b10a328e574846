"""Businesses and customers. Identities belong to `auth/`, and are linked to customers only by verified addresses."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Index
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column

from billing.model.provenance import FromAccount
from core.models import Base, BusinessOwned, Catalogue, CustomerOwned, of_customer


class Business(Base, Catalogue):
    """A merchant. Its customers may read this row; its secrets are in other tables."""

    __tablename__ = "businesses"

    business_id: Mapped[str] = mapped_column(primary_key=True)
    id = None  # type: ignore[assignment]
    name: Mapped[str]
    legal_name: Mapped[str] = mapped_column(default="")
    address: Mapped[dict[str, Any]] = mapped_column(default=dict)  # street, city, state, zipcode, country (alpha-2)
    tax_id: Mapped[str | None]
    support_email: Mapped[str] = mapped_column(default="")
    currency: Mapped[str]
    zone: Mapped[str] = mapped_column(default="UTC")
    locale: Mapped[str] = mapped_column(default="en")
    brand: Mapped[dict[str, Any]] = mapped_column(default=dict)  # accent, radius, font, logo; validated by core/brand.py
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)  # read through billing/model/policy.py only
    tax_setup: Mapped[dict[str, Any] | None]  # registrations, rates and exemptions: billing/pricing/tax_setup.py
    tax_rates: Mapped[dict[str, Any]] = mapped_column(default=dict)  # read while `tax_setup` is None: rows before revision 0033
    invoice_prefix: Mapped[str] = mapped_column(default="INV")
    archived_at: Mapped[datetime | None]
    created_at: Mapped[datetime]

    @property
    def tax_country(self) -> str | None:
        """The country in which the business is established (alpha-2)."""
        return (self.address or {}).get("country") or None


class NumberSeries(Base, BusinessOwned):
    """The next number of a series of a business (`id`: invoice, refund). Numbers have no gaps and are taken under a lock of the row."""

    __tablename__ = "number_series"

    next: Mapped[int] = mapped_column(default=1)


class Customer(Base, CustomerOwned, FromAccount):
    """A customer of one business. `email_key` is the folded email address by which people are found.

    People pay, accept or decline as the holder of an address, and a business may change the address of the row. `recognized_key` and
    `declined_key` are therefore addresses, and count only while the row has the same address: use `is_recognized` and `is_declined`. Only
    `billing/charging/recognition.py` writes them.
    """

    __tablename__ = "customers"
    __table_args__ = (
        Index("ix_customers_email_key", "email_key", "business_id"),
        Index("ix_customers_created", "business_id", "created_at", "customer_id"),
    )

    customer_id: Mapped[str] = mapped_column(primary_key=True)
    id = None  # type: ignore[assignment]
    email: Mapped[str]
    email_key: Mapped[str]
    name: Mapped[str]
    phone: Mapped[str | None]
    locale: Mapped[str | None]
    billing: Mapped[dict[str, Any]] = mapped_column(default=dict)
    tax_id: Mapped[str | None]
    business_name: Mapped[str | None]
    meta: Mapped[dict[str, Any]] = mapped_column(default=dict)
    first_paid_at: Mapped[datetime | None]  # the first payment by anyone, under any address
    recognized_key: Mapped[str | None]  # the folded address whose holder paid or accepted the business (safety 3.2)
    accepted_at: Mapped[datetime | None]  # when the holder of this address accepted the business
    declined_key: Mapped[str | None]  # the folded address whose holder declined the business
    declined_at: Mapped[datetime | None]
    address_since: Mapped[datetime | None]  # when the business changed the address; None: never changed
    blocked_at: Mapped[datetime | None]
    customer_type: Mapped[str | None]  # consumer, business; None: nobody said, see customer_types.customer_type_of
    customer_type_by: Mapped[str | None]  # customer, business: who said it
    notices_off: Mapped[list[Any] | None]  # reminders that the customer switched off, see model/optional_notices.py
    created_at: Mapped[datetime]

    @hybrid_property
    def is_recognized(self) -> bool:
        """Whether the holder of the row's address has paid or accepted this business. Otherwise the business is unrecognized."""
        return self.recognized_key == self.email_key

    @is_recognized.inplace.expression
    @classmethod
    def _is_recognized(cls) -> ColumnElement[bool]:
        return cls.recognized_key.is_not_distinct_from(cls.email_key)

    @hybrid_property
    def is_declined(self) -> bool:
        """Whether the holder of the row's address has declined this business."""
        return self.declined_key == self.email_key

    @is_declined.inplace.expression
    @classmethod
    def _is_declined(cls) -> ColumnElement[bool]:
        return cls.declined_key.is_not_distinct_from(cls.email_key)


class CustomerTotal(Base, CustomerOwned):
    """Total paid and refunded amounts per currency, stored so that no page has to sum payments. `id` is customer:currency."""

    __tablename__ = "customer_totals"
    __table_args__ = (of_customer(),)

    currency: Mapped[str]
    paid_minor: Mapped[int] = mapped_column(default=0)
    refunded_minor: Mapped[int] = mapped_column(default=0)


class SpendMonth(Base, CustomerOwned):
    """Paid and refunded amounts of one month (in the business's time zone) per currency. `id` is customer:YYYY-MM:currency."""

    __tablename__ = "spend_months"
    __table_args__ = (of_customer(), Index("ix_spend_months_customer", "business_id", "customer_id", "month"))

    month: Mapped[str]
    currency: Mapped[str]
    paid_minor: Mapped[int] = mapped_column(default=0)
    refunded_minor: Mapped[int] = mapped_column(default=0)
