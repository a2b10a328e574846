"""Read the short lists of the overview page: recent invoices, purchases, license keys and twelve months of spending."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Integer, String, and_, cast, func, literal, null, select, union_all

from billing.model.catalogue import Product
from billing.model.consents import Consent
from billing.model.invoices import Invoice
from billing.model.licenses import LicenseKey
from billing.model.parties import SpendMonth
from billing.model.payments import Payment
from billing.model.withdrawals import Withdrawal
from core.db import ScopedSession


@dataclass(slots=True)
class InvoiceRow:
    """An invoice with its open payment, if there is one."""

    business_id: str
    id: str
    number: str
    description: str
    status: str
    currency: str
    total_minor: int
    due_minor: int
    paid_minor: int
    refunded_minor: int
    issued_at: datetime
    payment_status: str | None
    payment_unknown: bool | None

    @property
    def amount_minor(self) -> int:
        """As `Invoice.amount_minor`."""
        return self.due_minor

    @property
    def refunded(self) -> str | None:
        return None if not self.refunded_minor else "full" if self.refunded_minor >= self.paid_minor else "partial"

    @property
    def shown(self) -> str:
        """The status to display: an open invoice with a payment in progress counts as processing."""
        return "processing" if self.status == "open" and self.payment_status == "processing" else self.status


@dataclass(slots=True)
class SubscriptionSummary:
    """`kind` "purchase": a payment with its description; "key": a license key with its product."""

    kind: str
    business_id: str
    id: str
    name: str
    at: datetime
    minor: int | None
    currency: str | None
    key: str | None
    status: str | None
    limit: int | None
    used: int | None
    refunded_minor: int | None
    customer_id: str | None = None
    customer_type: str | None = None
    country: str | None = None
    state: str | None = None
    concluded_at: datetime | None = None
    is_delivered: bool | None = None  # digital content, delivered with the customer's consent
    is_withdrawn: bool | None = None


def recent_invoices(db: ScopedSession, limit: int = 6) -> list[InvoiceRow]:
    query = (
        select(
            Invoice.business_id,
            Invoice.id,
            Invoice.number,
            Invoice.description,
            Invoice.status,
            Invoice.currency,
            Invoice.total_minor,
            Invoice.due_minor,
            Invoice.paid_minor,
            Invoice.refunded_minor,
            Invoice.issued_at,
            Payment.status,
            Payment.unknown,
        )
        .outerjoin(
            Payment,
            and_(
                Payment.business_id == Invoice.business_id,
                Payment.customer_id == Invoice.customer_id,
                Payment.invoice_id == Invoice.id,
                Payment.is_open.is_(True),
            ),
        )
        .order_by(Invoice.issued_at.desc(), Invoice.id.desc())
        .limit(limit)
    )
    return [InvoiceRow(*tuple(row)) for row in db.execute(query)]


# PostgreSQL needs typed columns in both halves of a union
_TEXT, _NUMBER = cast(null(), String), cast(null(), Integer)


def _is_delivered() -> Any:
    """Whether the customer agreed to the delivery of digital content before the purchase."""
    mine = (Consent.business_id == Payment.business_id, Consent.payment_id == Payment.id, Consent.kind == "digital_content")
    before = Consent.recorded_at <= func.coalesce(Invoice.issued_at, Payment.created_at)
    return select(Consent.id).where(*mine, before).correlate(Payment, Invoice).exists()


def _is_withdrawn() -> Any:
    mine = (Withdrawal.business_id == Payment.business_id, Withdrawal.payment_id == Payment.id)
    return select(Withdrawal.id).where(*mine).correlate(Payment).exists()


def subscription_summaries(db: ScopedSession, limit: int = 4) -> list[SubscriptionSummary]:
    """The newest purchases and the newest keys, `limit` of each, in one statement."""
    bought = (
        select(
            literal("purchase").label("kind"),
            Payment.business_id,
            Payment.id,
            func.coalesce(Invoice.description, "").label("name"),
            Payment.created_at.label("at"),
            Payment.amount_minor.label("minor"),
            Payment.currency,
            _TEXT.label("key"),
            Payment.status,
            _NUMBER.label("limit"),
            _NUMBER.label("used"),
            Payment.refunded_minor,
            Payment.customer_id,
            Payment.customer_type,
            Payment.billing["country"].as_string().label("country"),
            Payment.billing["state"].as_string().label("state"),
            func.coalesce(Invoice.issued_at, Payment.created_at).label("concluded_at"),
            _is_delivered().label("is_delivered"),
            _is_withdrawn().label("is_withdrawn"),
        )
        .outerjoin(Invoice, and_(Invoice.business_id == Payment.business_id, Invoice.id == Payment.invoice_id))
        .where(
            Payment.subscription_id.is_(None),
            Payment.charge_type != "method",
            (Payment.status == "succeeded") | ((Payment.status == "requires_customer_action") & Payment.is_open),
        )
        .order_by(Payment.created_at.desc())
        .limit(limit)
        .subquery()
    )
    keys = (
        select(
            literal("key").label("kind"),
            LicenseKey.business_id,
            LicenseKey.id,
            Product.name,
            LicenseKey.created_at.label("at"),
            _NUMBER.label("minor"),
            _TEXT.label("currency"),
            LicenseKey.key,
            LicenseKey.state.label("status"),
            LicenseKey.activations_limit.label("limit"),
            LicenseKey.instances_count.label("used"),
            _NUMBER.label("refunded_minor"),
            *(_TEXT.label(name) for name in ("customer_id", "customer_type", "country", "state")),
            LicenseKey.created_at.label("concluded_at"),
            literal(False).label("is_delivered"),
            literal(False).label("is_withdrawn"),
        )
        .join(Product, and_(Product.business_id == LicenseKey.business_id, Product.id == LicenseKey.product_id))
        .order_by(LicenseKey.created_at.desc())
        .limit(limit)
        .subquery()
    )
    return [SubscriptionSummary(*row) for row in db.execute(union_all(select(bought), select(keys)))]


def months_back(today: date, count: int = 12) -> list[str]:
    """The last `count` months as YYYY-MM, oldest first, ending with the current month."""
    numbers = range(today.year * 12 + today.month - count, today.year * 12 + today.month)
    return [f"{n // 12:04d}-{n % 12 + 1:02d}" for n in numbers]


def spend(db: ScopedSession, months: list[str]) -> dict[str, list[int]]:
    """Map currencies to paid less refunded amounts, in minor units, for each of `months`. Omits currencies without amounts."""
    query = (
        select(SpendMonth.month, SpendMonth.currency, func.sum(SpendMonth.paid_minor - SpendMonth.refunded_minor))
        .where(SpendMonth.month >= months[0], SpendMonth.month <= months[-1])
        .group_by(SpendMonth.month, SpendMonth.currency)
    )
    out: dict[str, list[int]] = {}
    for month, currency, minor in db.execute(query):
        out.setdefault(currency, [0] * len(months))[months.index(month)] = int(minor)
    return {currency: values for currency, values in sorted(out.items(), key=lambda item: -sum(1 for v in item[1] if v)) if any(values)}
