"""How a request ends: staff decline it, or a refund of its payment succeeds. Staff are reminded once when it is overdue."""

from __future__ import annotations

from sqlalchemy import select

from billing.model import job_names, lifecycle
from billing.model.payments import Refund
from billing.model.refund_requests import CustomerRefundRequest
from billing.refund_requests.ask import clean_message, lock_open, tell
from core import clock, recurring_jobs
from core.db import Database, ScopedSession
from core.recurring_jobs import Row, in_turns
from core.scope import everything, system

LIMIT = 50


def decline(db: ScopedSession, request_id: str, answer: str) -> CustomerRefundRequest:
    """Decline with words for the customer. Raises NotFound, Invalid (answer), Conflict REFUND_REQUEST_DECIDED."""
    row = lock_open(db, request_id)
    row.answer = clean_message(answer, {}, field="answer")
    row.status = lifecycle.move(lifecycle.REFUND_REQUEST, row.status, "decline")
    row.decided_at = clock.now()
    tell(db, row, "refund_request.declined")
    return row


def close_refunded(database: Database, business_id: str, refund_id: str) -> None:
    """Close the open request about the payment of a refund that succeeded, whoever made the refund. Idempotent."""
    with database.open(system(business_id), write=True) as db:
        found = db.execute(select(Refund.payment_id, Refund.amount_minor, Refund.currency).where(Refund.id == refund_id)).first()
        if found is None:
            return
        wanted = (
            select(CustomerRefundRequest)
            .where(CustomerRefundRequest.payment_id == found[0], CustomerRefundRequest.status == "open")
            .with_for_update()
        )
        for row in db.scalars(wanted):
            row.status = lifecycle.move(lifecycle.REFUND_REQUEST, row.status, "refund")
            row.decided_at = clock.now()
            tell(db, row, "refund_request.refunded", refund_id=refund_id, amount=found[1], currency=found[2])


def remind_overdue(database: Database) -> int:
    """Tell the owners once about each request that is overdue. Businesses take turns. Returns the number of rows handled."""
    with database.open(everything("overdue refund requests")) as db:
        due = select(CustomerRefundRequest.business_id, CustomerRefundRequest.id).where(
            CustomerRefundRequest.status == "open",
            CustomerRefundRequest.answer_by <= clock.now(),
            CustomerRefundRequest.reminded_at.is_(None),
            recurring_jobs.rested(job_names.OVERDUE_REQUESTS, CustomerRefundRequest.business_id, CustomerRefundRequest.id),
        )
        rows: list[Row] = [
            (row[0], row[1])
            for row in db.execute(in_turns(due, CustomerRefundRequest.business_id, CustomerRefundRequest.answer_by, limit=LIMIT))
        ]
    return recurring_jobs.run(database, job_names.OVERDUE_REQUESTS, rows, lambda business_id, id: _remind(database, business_id, id))


def _remind(database: Database, business_id: str, request_id: str) -> None:
    with database.open(system(business_id), write=True) as db:
        row = db.scalar(select(CustomerRefundRequest).where(CustomerRefundRequest.id == request_id).with_for_update())
        if row is not None and row.is_overdue and row.reminded_at is None:
            row.reminded_at = clock.now()
            tell(db, row, "refund_request.overdue")
