"""Read refund requests, for customers and staff."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, and_, or_, select, tuple_

from billing.model.invoices import Invoice
from billing.model.parties import Customer
from billing.model.payments import Payment
from billing.model.refund_requests import CustomerRefundRequest, RefundRequestMessage
from core import clock
from core.db import ScopedSession
from core.errors import NotFound

PAGE = 25
SHOWN_STATES = ("open", "overdue", "refunded", "declined", "withdrawn")


@dataclass(frozen=True)
class RequestRow:
    """A request with its payment and customer. `status`: as shown, overdue instead of open after the deadline."""

    request: CustomerRefundRequest
    payment: Payment
    customer: Customer
    what: str

    @property
    def status(self) -> str:
        return "overdue" if self.request.is_overdue else self.request.status


def get_request(db: ScopedSession, request_id: str) -> RequestRow:
    """Return a request of the scope. Raises NotFound."""
    found = db.execute(_rows().where(CustomerRefundRequest.id == request_id).limit(1)).first()
    if found is None:
        raise NotFound()
    return RequestRow(found[0], found[1], found[2], found[3] or "")


def messages(db: ScopedSession, request: CustomerRefundRequest) -> Sequence[RefundRequestMessage]:
    """Return the messages of a request, oldest first."""
    mine = (RefundRequestMessage.business_id == request.business_id, RefundRequestMessage.request_id == request.id)
    query = select(RefundRequestMessage).where(*mine)
    return db.scalars(query.order_by(RefundRequestMessage.created_at, RefundRequestMessage.id)).all()


def latest_request(db: ScopedSession, payment: Payment) -> CustomerRefundRequest | None:
    """Return the last request about a payment."""
    mine = (CustomerRefundRequest.business_id == payment.business_id, CustomerRefundRequest.payment_id == payment.id)
    return db.scalar(
        select(CustomerRefundRequest).where(*mine).order_by(CustomerRefundRequest.created_at.desc(), CustomerRefundRequest.id).limit(1)
    )


def list_requests(db: ScopedSession, text: str, status: str, before: tuple[datetime, str] | None) -> list[RequestRow]:
    """Return a page of requests, newest first. `text`: an email address, or the id of a payment or request."""
    query = _rows().order_by(CustomerRefundRequest.created_at.desc(), CustomerRefundRequest.id.desc()).limit(PAGE + 1)
    if text:
        query = query.where(
            or_(Customer.email_key == text.lower(), CustomerRefundRequest.id == text, CustomerRefundRequest.payment_id == text)
        )
    if status == "overdue":
        query = query.where(CustomerRefundRequest.status == "open", CustomerRefundRequest.answer_by <= clock.now())
    elif status:
        query = query.where(CustomerRefundRequest.status == status)
    if before:
        query = query.where(tuple_(CustomerRefundRequest.created_at, CustomerRefundRequest.id) < before)
    return [RequestRow(row[0], row[1], row[2], row[3] or "") for row in db.execute(query)]


def _rows() -> Select[CustomerRefundRequest, Payment, Customer, str]:
    return (
        select(CustomerRefundRequest, Payment, Customer, Invoice.description)
        .join(Payment, and_(Payment.business_id == CustomerRefundRequest.business_id, Payment.id == CustomerRefundRequest.payment_id))
        .join(
            Customer,
            and_(Customer.business_id == CustomerRefundRequest.business_id, Customer.customer_id == CustomerRefundRequest.customer_id),
        )
        .outerjoin(Invoice, and_(Invoice.business_id == Payment.business_id, Invoice.id == Payment.invoice_id))
    )
