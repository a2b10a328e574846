"""Invoices, numbered per business without gaps and immutable once issued. The PDF is rendered from the issued snapshot."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from billing.model.provenance import FromAccount
from core.models import Base, CustomerOwned, JSONType, of_customer, within_customer


class Invoice(Base, CustomerOwned, FromAccount):
    """`operation` names the work that is billed (renewal:sub:n, purchase:…). It is unique, so that the same work is billed once.

    `total_minor` = `subtotal_minor` + `tax_minor` is the sum of the lines, including credit lines. `due_minor` is the amount to pay: the
    total with the amounts carried from or to other invoices. `credit_applied_minor` is the part of the items' price that was not paid in
    money. Invoices from before revision 0019 have no credit lines: their credit is the difference between total and due.
    """

    __tablename__ = "invoices"
    __table_args__ = (
        of_customer(),
        within_customer("subscription_id", "subscriptions"),
        UniqueConstraint("business_id", "customer_id", "id"),
        UniqueConstraint("business_id", "number"),
        UniqueConstraint("business_id", "operation"),
        CheckConstraint("refunded_minor >= 0 AND refunded_minor + credited_minor <= paid_minor", name="refunds"),
        Index("ix_invoices_customer", "business_id", "customer_id", "issued_at", "id"),
        Index("ix_invoices_subscription", "business_id", "subscription_id", "issued_at"),
        Index("ix_invoices_number", "number"),  # account recovery searches by number without a business (auth/recovery.py)
        Index(
            "ix_invoices_unpaid",
            "business_id",
            "customer_id",
            "issued_at",
            "id",
            sqlite_where=text("paid_minor = 0"),
            postgresql_where=text("paid_minor = 0"),
        ),
    )

    number: Mapped[str]
    operation: Mapped[str]
    kind: Mapped[str]  # new, renewal, plan_change, one_time
    status: Mapped[str] = mapped_column(default="open")
    subscription_id: Mapped[str | None]
    description: Mapped[str]
    currency: Mapped[str]
    subtotal_minor: Mapped[int]
    tax_minor: Mapped[int]
    total_minor: Mapped[int]
    credit_applied_minor: Mapped[int] = mapped_column(default=0)
    due_minor: Mapped[int]
    paid_minor: Mapped[int] = mapped_column(default=0)
    refunded_minor: Mapped[int] = mapped_column(default=0)
    credited_minor: Mapped[int] = mapped_column(default=0)
    starts_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    issued_at: Mapped[datetime]
    paid_at: Mapped[datetime | None]
    snapshot: Mapped[dict[str, Any]] = mapped_column(JSONType, deferred=True)  # never changes after the issue
    tax_evidence: Mapped[dict[str, Any] | None] = mapped_column(JSONType, deferred=True)  # billing/documents/tax_evidence.py
    receipt: Mapped[dict[str, Any] | None]  # {state, at, method} of the payment; printed on the paid document

    @property
    def amount_minor(self) -> int:
        """The amount to pay, which is shown as the amount of the invoice."""
        return self.due_minor

    @property
    def value_minor(self) -> int:
        """The price of the items, tax included, however it was paid."""
        return self.due_minor + self.credit_applied_minor


class InvoiceLine(Base, CustomerOwned):
    __tablename__ = "invoice_lines"
    __table_args__ = (
        of_customer(),
        within_customer("invoice_id", "invoices"),
        CheckConstraint("refunded_minor = 0 OR (refunded_minor > 0 AND refunded_minor <= net_minor + tax_minor)", name="line_refunds"),
        Index("ix_invoice_lines_invoice", "business_id", "invoice_id", "position"),
    )

    invoice_id: Mapped[str]
    position: Mapped[int]
    product_id: Mapped[str | None]
    description: Mapped[str]
    quantity: Mapped[int]
    unit_minor: Mapped[int]
    net_minor: Mapped[int]
    tax_minor: Mapped[int]
    tax_bps: Mapped[int]
    tax_code: Mapped[str | None]  # VAT category code of EN 16931 (billing/pricing/taxes.py); None: issued before it was stored
    tax_reason: Mapped[str | None]
    kind: Mapped[str] = mapped_column(default="item", server_default="item")  # item, unused, credit: see billing/pricing/prices.py
    refunded_minor: Mapped[int] = mapped_column(default=0)
    starts_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]


class Document(Base, CustomerOwned):
    """The bytes of a PDF of an invoice, correction or refund, with their hash. `id` is made of `noun_id` and `version`."""

    __tablename__ = "documents"
    __table_args__ = (of_customer(),)

    noun_id: Mapped[str]
    version: Mapped[int]
    sha256: Mapped[str]
    pdf: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]
