"""Who sells and who buys. A person (identity) is `auth/`'s; they meet by verified address only."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Index
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column

from billing.provenance import FromAccount
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
    tax_rates: Mapped[dict] = mapped_column(default=dict)  # country → basis points or {code, bps, reason}: billing/taxes.py
    invoice_prefix: Mapped[str] = mapped_column(default="INV")
    archived_at: Mapped[datetime | None]
    created_at: Mapped[datetime]

    @property
    def tax_country(self) -> str | None:
        """Where it is established (alpha-2)."""
        return (self.address or {}).get("country") or None


class NumberSeries(Base, BusinessOwned):
    """The next number of a business's series (`id`: invoice, refund): gapless, taken under the row's lock."""

    __tablename__ = "number_series"

    next: Mapped[int] = mapped_column(default=1)


class Customer(Base, CustomerOwned, FromAccount):
    """A buyer at one business. `email_key` is the folded address people are found by.

    What somebody said or paid, they said or paid as the holder of an address; a business may write another one into the row.
    So `known_key` and `declined_key` are addresses, and hold while the row has that very one: `is_known` and `is_declined`
    are the only places that say so. They are written by `billing/knowing.py` alone.
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
    billing: Mapped[dict] = mapped_column(default=dict)
    tax_id: Mapped[str | None]
    business_name: Mapped[str | None]
    meta: Mapped[dict] = mapped_column(default=dict)
    first_paid_at: Mapped[datetime | None]  # about money only: whoever paid, under whichever address
    known_key: Mapped[str | None]  # the (folded) address whose holder paid, or said "show it" (safety 3.2)
    accepted_at: Mapped[datetime | None]  # the holder of this address said "show it", or "mine"
    declined_key: Mapped[str | None]  # the (folded) address whose holder said "not mine"
    declined_at: Mapped[datetime | None]
    address_since: Mapped[datetime | None]  # when the business gave the row this address; None: it always had it
    blocked_at: Mapped[datetime | None]
    created_at: Mapped[datetime]

    @hybrid_property
    def is_known(self) -> bool:
        """Whether the holder of the row's address paid this business or accepted it; what is not known is planted."""
        return self.known_key == self.email_key

    @is_known.inplace.expression
    @classmethod
    def _is_known(cls) -> ColumnElement[bool]:
        return cls.known_key.is_not_distinct_from(cls.email_key)

    @hybrid_property
    def is_declined(self) -> bool:
        """Whether the holder of the row's address said that it is not theirs."""
        return self.declined_key == self.email_key

    @is_declined.inplace.expression
    @classmethod
    def _is_declined(cls) -> ColumnElement[bool]:
        return cls.declined_key.is_not_distinct_from(cls.email_key)


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
