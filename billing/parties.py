"""Who sells and who buys. A person (identity) is `auth/`'s; they meet by verified address only."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base, BusinessOwned, Catalogue, CustomerOwned, of_customer


class Business(Base, Catalogue):
    """A seller. What its customers may read; its secrets live elsewhere."""

    __tablename__ = "businesses"

    business_id: Mapped[str] = mapped_column(primary_key=True)
    id = None  # type: ignore[assignment]
    name: Mapped[str]
    legal_name: Mapped[str] = mapped_column(default="")
    address: Mapped[dict] = mapped_column(default=dict)  # street, city, state, zipcode, country (alpha-2)
    tax_id: Mapped[str | None]
    support_email: Mapped[str] = mapped_column(default="")
    currency: Mapped[str]
    zone: Mapped[str] = mapped_column(default="UTC")
    locale: Mapped[str] = mapped_column(default="en")
    brand: Mapped[dict] = mapped_column(default=dict)  # accent, radius, font, logo; validated by core/brand.py
    settings: Mapped[dict] = mapped_column(default=dict)  # read through billing/policy.py only
    tax_rates: Mapped[dict] = mapped_column(default=dict)  # country → basis points
    invoice_prefix: Mapped[str] = mapped_column(default="INV")
    archived_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class NumberSeries(Base, BusinessOwned):
    """The next number of a business's series (`id`: invoice, refund): gapless, taken under the row's lock."""

    __tablename__ = "number_series"

    next: Mapped[int] = mapped_column(default=1)


class Customer(Base, CustomerOwned):
    """A buyer at one business. `email_key` is the folded address people are found by."""

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
    billing: Mapped[dict] = mapped_column(default=dict)
    tax_id: Mapped[str | None]
    business_name: Mapped[str | None]
    meta: Mapped[dict] = mapped_column(default=dict)
    first_paid_at: Mapped[datetime | None]
    accepted_at: Mapped[datetime | None]  # the person said "show it"; or they paid (safety 3.2)
    declined_at: Mapped[datetime | None]  # the person said "not mine"
    blocked_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class CustomerTotal(Base, CustomerOwned):
    """Paid and refunded so far, per currency. Kept as a row, never computed on a page. `id` is customer:currency."""

    __tablename__ = "customer_totals"
    __table_args__ = (of_customer(),)

    currency: Mapped[str]
    paid_minor: Mapped[int] = mapped_column(default=0)
    refunded_minor: Mapped[int] = mapped_column(default=0)


class SpendMonth(Base, CustomerOwned):
    """Paid and refunded in one month (of the business's zone), per currency. `id` is customer:YYYY-MM:currency."""

    __tablename__ = "spend_months"
    __table_args__ = (of_customer(), Index("ix_spend_months_customer", "business_id", "customer_id", "month"))

    month: Mapped[str]
    currency: Mapped[str]
    paid_minor: Mapped[int] = mapped_column(default=0)
    refunded_minor: Mapped[int] = mapped_column(default=0)
