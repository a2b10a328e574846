"""Read failing recurring jobs and subscriptions that nobody charges, for a business's staff."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, literal_column, or_, select

from billing.external.port import UNDECIDED
from billing.model.catalogue import Product
from billing.model.lifecycle import LIVE
from billing.model.parties import Customer
from billing.model.payments import Payment, PaymentMethod, Refund
from billing.model.subscriptions import Subscription
from billing.model.tax_calculations import TaxReport
from core.db import ScopedSession
from core.recurring_jobs import JobFailure

SHOWN = 100
_UNDECIDED = and_(
    Subscription.collected_by == literal_column(f"'{UNDECIDED}'"), Subscription.status.in_(LIVE)
)  # a literal, so that the partial index is used


@dataclass(frozen=True, slots=True)
class FailingJob:
    """A failing job. `noun`: subscription, payment, payment_method, or empty. `noun_id`: the row that has a page."""

    failure: JobFailure
    noun: str = ""
    noun_id: str = ""
    name: str = ""
    customer: Customer | None = None


def failing(db: ScopedSession, subscription_id: str | None = None) -> list[FailingJob]:
    """Failing jobs that are retried, the longest failing first. `subscription_id`: only of this subscription."""
    query = select(JobFailure).order_by(JobFailure.began_at, JobFailure.id).limit(SHOWN)
    if subscription_id is not None:
        query = query.where(JobFailure.row_id == subscription_id)
    failures = list(db.scalars(query))
    about = _about(db, {failure.row_id for failure in failures}) if failures else {}
    return [FailingJob(failure, *about.get(failure.row_id, ())) for failure in failures]


def undecided(db: ScopedSession) -> list[FailingJob]:
    """Subscriptions for which nobody has decided who bills them, in the shape of `failing` without a failure."""
    query = select(Subscription.id).where(_UNDECIDED).order_by(Subscription.created_at, Subscription.id).limit(SHOWN)
    ids = list(db.scalars(query))
    about = _about(db, set(ids)) if ids else {}
    return [FailingJob(JobFailure(row_id=row_id), *about[row_id]) for row_id in ids if row_id in about]


def needs_attention(db: ScopedSession) -> bool:
    return (
        db.scalar(select(JobFailure.id).limit(1)) is not None or db.scalar(select(Subscription.id).where(_UNDECIDED).limit(1)) is not None
    )


def _about(db: ScopedSession, ids: set[str]) -> dict[str, tuple[str, str, str, Customer]]:
    """Map row ids to (noun, id of the page, name, customer)."""
    found: dict[str, tuple[str, str, str, Customer]] = {}
    sold = and_(Product.business_id == Subscription.business_id, Product.id == Subscription.product_id)
    for row_id, name, customer in db.execute(
        select(Subscription.id, Product.name, Customer)
        .join(Product, sold)
        .join(Customer, _buyer(Subscription))
        .where(Subscription.id.in_(ids))
    ):
        found[row_id] = ("subscription", row_id, name, customer)
    for row_id, customer in db.execute(select(Payment.id, Customer).join(Customer, _buyer(Payment)).where(Payment.id.in_(ids))):
        found[row_id] = ("payment", row_id, "", customer)
    for row_id, paid, customer in db.execute(
        select(Refund.id, Refund.payment_id, Customer).join(Customer, _buyer(Refund)).where(Refund.id.in_(ids))
    ):
        found[row_id] = ("payment", paid, "", customer)
    for row_id, customer in db.execute(
        select(PaymentMethod.id, Customer).join(Customer, _buyer(PaymentMethod)).where(PaymentMethod.id.in_(ids))
    ):
        found[row_id] = ("payment_method", row_id, "", customer)
    return found | _about_tax_reports(db, {row_id for row_id in ids if ":" in row_id})


def _about_tax_reports(db: ScopedSession, ids: set[str]) -> dict[str, tuple[str, str, str, Customer]]:
    """Map reports to a tax calculator to the payment of their invoice."""
    if not ids:
        return {}
    ours = (TaxReport.business_id == Payment.business_id, TaxReport.id.in_(ids))
    sold = and_(Payment.invoice_id == TaxReport.noun_id, Payment.status == "succeeded")
    refunded = select(Refund.id).where(
        Refund.business_id == TaxReport.business_id, Refund.id == TaxReport.noun_id, Refund.payment_id == Payment.id
    )
    query = select(TaxReport.id, Payment.id, Customer).join(Customer, _buyer(Payment)).where(*ours, or_(sold, refunded.exists()))
    return {row_id: ("payment", payment_id, "", customer) for row_id, payment_id, customer in db.execute(query)}


def _buyer(model: Any) -> ColumnElement[bool]:
    return and_(Customer.business_id == model.business_id, Customer.customer_id == model.customer_id)
