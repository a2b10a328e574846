"""Read disputes: lists for staff and for the API, and those of a payment. Keyset-paged, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, select

from billing.history.api_lists import ListPage, paged, require
from billing.history.staff_lists import Mark, narrowed, page_of
from billing.model.disputes import Dispute
from billing.model.invoices import Invoice
from billing.model.lifecycle import DISPUTE_STATES
from billing.model.parties import Customer
from billing.model.payments import Payment
from core.db import ScopedSession

STATES = DISPUTE_STATES
CUSTOMER_MOST = 50
"""Disputes on the page of a customer. The list of all disputes has the others."""


@dataclass(frozen=True, slots=True)
class DisputeRow:
    dispute: Dispute
    customer: Customer
    payment: Payment
    number: str | None
    what: str | None


def staff_disputes(db: ScopedSession, search: str = "", status: str = "", before: Mark | None = None, limit: int = 26) -> list[DisputeRow]:
    exact = [Dispute.id == search, Dispute.payment_id == search, Dispute.reference == search]
    query = narrowed(_with_context(), Dispute, search, exact)
    return [DisputeRow(*row) for row in db.execute(page_of(query, Dispute, status, before, limit))]


def dispute(db: ScopedSession, dispute_id: str) -> DisputeRow:
    """Raises NotFound."""
    return DisputeRow(*require(db.execute(_with_context().where(Dispute.id == dispute_id)).first(), "dispute", dispute_id))


def disputes_of(db: ScopedSession, payment_id: str) -> list[Dispute]:
    """Return the disputes of a payment, oldest first."""
    return list(db.scalars(select(Dispute).where(Dispute.payment_id == payment_id).order_by(Dispute.created_at, Dispute.id)))


def is_delivered(payment: Payment, disputes: Sequence[Dispute]) -> bool:
    """Whether a payment is paid and not all of it went back: then downloads are shown. `disputes`: of this payment."""
    back = payment.refunded_minor + sum(row.taken_minor for row in disputes)
    return payment.status == "succeeded" and (back < payment.amount_minor or not payment.amount_minor)


def disputes_of_customer(db: ScopedSession, customer_id: str) -> list[Dispute]:
    """Return the latest disputes of a customer, newest first."""
    query = select(Dispute).where(Dispute.customer_id == customer_id)
    return list(db.scalars(query.order_by(Dispute.created_at.desc(), Dispute.id).limit(CUSTOMER_MOST)))


def api_disputes(
    db: ScopedSession, page: ListPage, *, customer_id: str | None = None, status: str | None = None, stage: str | None = None
) -> list[Dispute]:
    query = select(Dispute)
    for column, value in ((Dispute.customer_id, customer_id), (Dispute.status, status), (Dispute.stage, stage)):
        query = query.where(column == value) if value is not None else query
    return list(db.scalars(paged(query, Dispute.created_at, Dispute.id, page)))


def _with_context() -> Any:
    bill = and_(Invoice.business_id == Dispute.business_id, Invoice.id == Dispute.invoice_id)
    buyer = and_(Customer.business_id == Dispute.business_id, Customer.customer_id == Dispute.customer_id)
    query = select(Dispute, Customer, Payment, Invoice.number, Invoice.description)
    return query.join(Customer, buyer).join(Payment, _paid()).outerjoin(Invoice, bill)


def _paid() -> Any:
    return and_(Payment.business_id == Dispute.business_id, Payment.id == Dispute.payment_id)
