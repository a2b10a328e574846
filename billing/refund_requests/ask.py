"""What customers do: ask for a refund, write a second message, take the request back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import func, select

from billing.model import lifecycle
from billing.model.events import emit_about
from billing.model.payments import Payment
from billing.model.refund_requests import CustomerRefundRequest, RefundRequestMessage
from billing.self_refunds.assessment import Assessment, assess
from billing.self_refunds.facts import find_payment, load_facts
from billing.self_refunds.refund_payment import OBSTACLES, REASONS
from billing.statements.declare import add_working_days
from core import clock
from core.db import ScopedSession
from core.errors import N_, Conflict, Invalid, NotFound, TooMany
from core.ids import new_id

NEVER = ("archived", "unrecognized", "external", "unpaid", "nothing_paid", "refunded", "in_progress", "disputed", "too_old")
"""Obstacles that staff cannot remove either, so that nothing can be requested."""
MESSAGE_LIMIT, MESSAGES_EACH = 1000, 2
PER_WEEK, PER_PAYMENT = 5, 3
"""Requests of one customer in seven days, and about one payment."""


def may_ask(assessed: Assessment) -> bool:
    """Return whether a refund of this payment can be requested: staff could make it, and the customer cannot."""
    return assessed.policy.takes_requests and assessed.obstacle not in NEVER and not assessed.is_allowed


def ask(db: ScopedSession, payment_id: str, reason: str | None, message: str) -> CustomerRefundRequest:
    """Open a request. `reason`: a code of REASONS. Blocked customers may ask.

    Raises NotFound, Invalid (reason, message), Conflict (OBSTACLES; REFUND_REQUESTS_DISABLED; REFUND_POLICY_MET; REFUND_REQUEST_OPEN;
    REFUND_REQUEST_LIMIT), TooMany.
    """
    problems = {} if not reason or reason in REASONS else {"reason": N_("Choose a reason from the list, or none.")}
    words = clean_message(message, problems, is_required=False)
    payment = find_payment(db, payment_id)
    db.scalar(select(Payment.id).where(Payment.business_id == payment.business_id, Payment.id == payment.id).with_for_update())
    assessed = assess(load_facts(db, payment))
    _refuse(db, assessed)
    row = CustomerRefundRequest(
        business_id=payment.business_id,
        customer_id=payment.customer_id,
        id=new_id("rrq"),
        payment_id=payment.id,
        status="open",
        reason=REASONS[reason] if reason else None,
        answer_by=add_working_days(clock.now(), assessed.policy.answer_days),
        created_at=clock.now(),
    )
    db.add(row)
    db.flush()
    if words:
        add(db, row, words, by_customer=True)
    tell(db, row, "refund_request.received", amount=payment.amount_minor, currency=payment.currency)
    return row


def _refuse(db: ScopedSession, assessed: Assessment) -> None:
    payment = assessed.payment
    if not assessed.policy.takes_requests:
        raise Conflict("REFUND_REQUESTS_DISABLED", N_("This business takes no refund requests here."))
    if assessed.is_allowed:
        raise Conflict("REFUND_POLICY_MET", N_("You can refund this payment yourself."))
    if assessed.obstacle in NEVER:
        raise Conflict(*OBSTACLES[str(assessed.obstacle)])
    mine = select(func.count()).select_from(CustomerRefundRequest).where(CustomerRefundRequest.business_id == payment.business_id)
    of_payment = mine.where(CustomerRefundRequest.payment_id == payment.id)
    if db.scalar(of_payment.where(CustomerRefundRequest.status == "open")):
        raise Conflict("REFUND_REQUEST_OPEN", N_("You have already requested a refund of this payment."))
    if (db.scalar(of_payment) or 0) >= PER_PAYMENT:
        raise Conflict("REFUND_REQUEST_LIMIT", N_("You have requested a refund of this payment three times. Contact the business."))
    week = mine.where(
        CustomerRefundRequest.customer_id == payment.customer_id, CustomerRefundRequest.created_at > clock.now() - timedelta(days=7)
    )
    if (db.scalar(week) or 0) >= PER_WEEK:
        raise TooMany(sentence=N_("You have made many requests this week. Please wait for the answers."))


def write(db: ScopedSession, request_id: str, message: str, *, by_customer: bool) -> CustomerRefundRequest:
    """Add a message of one side. Raises NotFound, Invalid (message), Conflict REFUND_REQUEST_DECIDED, REFUND_REQUEST_LIMIT."""
    row = lock_open(db, request_id)
    words = clean_message(message, {})
    mine = (RefundRequestMessage.business_id == row.business_id, RefundRequestMessage.request_id == row.id)
    count = select(func.count()).select_from(RefundRequestMessage).where(*mine, RefundRequestMessage.by_customer.is_(by_customer))
    if (db.scalar(count) or 0) >= MESSAGES_EACH:
        raise Conflict("REFUND_REQUEST_LIMIT", N_("Two messages of each side are the limit."))
    add(db, row, words, by_customer=by_customer)
    tell(db, row, "refund_request.message", by_customer=by_customer)
    return row


def withdraw(db: ScopedSession, request_id: str) -> CustomerRefundRequest:
    """Take a request back. Raises NotFound, Conflict REFUND_REQUEST_DECIDED."""
    row = lock_open(db, request_id)
    row.status = lifecycle.move(lifecycle.REFUND_REQUEST, row.status, "withdraw")
    row.decided_at = clock.now()
    tell(db, row, "refund_request.withdrawn")
    return row


def lock_open(db: ScopedSession, request_id: str) -> CustomerRefundRequest:
    row = db.scalar(select(CustomerRefundRequest).where(CustomerRefundRequest.id == request_id).with_for_update())
    if row is None:
        raise NotFound()
    if row.status != "open":
        raise Conflict("REFUND_REQUEST_DECIDED", N_("This request has already been decided."))
    return row


def clean_message(text: str, problems: dict[str, str], *, is_required: bool = True, field: str = "message") -> str:
    """Return the text without surrounding spaces and unprintable characters. Raises Invalid with `problems` and its own."""
    plain = text.encode("utf-8", "ignore").decode()
    words = "".join(c for c in plain.replace("\r\n", "\n") if c == "\n" or c.isprintable()).strip()
    if len(words) > MESSAGE_LIMIT:
        problems[field] = N_("Please keep it under 1,000 characters.")
    elif is_required and not words:
        problems[field] = N_("Write a message.")
    if problems:
        raise Invalid(fields=problems)
    return words


def add(db: ScopedSession, row: CustomerRefundRequest, words: str, *, by_customer: bool) -> None:
    db.add(
        RefundRequestMessage(
            business_id=row.business_id,
            customer_id=row.customer_id,
            id=new_id("rrm"),
            request_id=row.id,
            by_customer=by_customer,
            text=words,
            created_at=clock.now(),
        )
    )


def tell(db: ScopedSession, row: CustomerRefundRequest, event: str, **data: Any) -> None:
    emit_about(db, row, event, payment_id=row.payment_id, **data)
