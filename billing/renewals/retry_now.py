"""Retry an unpaid invoice at a business's request, with the subscription's payment method."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from billing.charging.method_assignment import usable_method
from billing.charging.payment_processor import PaymentProcessor
from billing.model.invoices import Invoice
from billing.model.lifecycle import UNPAID_STATES
from billing.model.payment_accounts import is_chargeable
from billing.model.payments import Payment, PaymentMethod
from billing.model.subscriptions import Subscription
from billing.renewals import renew
from billing.renewals.dues import open_invoice
from core.db import ScopedSession
from core.errors import N_, Conflict, NotFound
from core.scope import Scope

SENDS = 10
MANUAL = {"retry": "manual"}
_MESSAGES = {
    "NOTHING_DUE": "The invoice of this payment is no longer due.",
    "SUBSCRIPTION_INACTIVE": "The subscription is not past due or on hold.",
    "PREVIOUS_PAYMENT_PENDING": N_("A payment for this subscription is in progress. Wait until it finishes."),
    "SUBSCRIPTION_PAYMENT_RETRY_LIMIT_EXCEEDED": "This was retried ten times. The customer must choose another payment method.",
    "NO_ELIGIBLE_PAYMENT_METHODS": "The subscription has no saved payment method.",
}


@dataclass(frozen=True)
class RetryStatus:
    """Whether a payment can be retried. `reason`: the error code of `retry`, None if allowed. `sends_used`: manual retries so far."""

    subscription_id: str | None
    invoice_id: str | None
    method_id: str | None
    sends_used: int
    reason: str | None


@dataclass(frozen=True)
class RetryAnswer:
    payment_id: str
    invoice_id: str
    attempt: int
    sends_used: int
    status: str


def state_of(db: ScopedSession, payment_id: str, *, lock: bool = False) -> RetryStatus:
    """Whether the invoice of this payment can be retried. Raises NotFound."""
    payment = db.scalar(select(Payment).where(Payment.id == payment_id))
    if payment is None:
        raise NotFound(sentence=N_("There is no such payment."))
    if payment.subscription_id is None or payment.invoice_id is None or payment.status not in ("failed", "cancelled"):
        return RetryStatus(payment.subscription_id, payment.invoice_id, None, 0, "NOTHING_DUE")
    query = select(Subscription).where(Subscription.id == payment.subscription_id)
    subscription = db.scalar(query.with_for_update() if lock else query)
    assert subscription is not None
    used = sum(1 for row in db.scalars(select(Payment.intent).where(Payment.invoice_id == payment.invoice_id)) if row == MANUAL)
    due = open_invoice(db, subscription)
    reason = None
    if subscription.status not in UNPAID_STATES:
        reason = "SUBSCRIPTION_INACTIVE"
    elif due is None or due.id != payment.invoice_id:
        reason = "NOTHING_DUE"
    elif db.scalar(select(Payment.id).where(Payment.subscription_id == subscription.id, Payment.is_open).limit(1)):
        reason = "PREVIOUS_PAYMENT_PENDING"
    elif used >= SENDS:
        reason = "SUBSCRIPTION_PAYMENT_RETRY_LIMIT_EXCEEDED"
    elif not db.scalar(select(PaymentMethod.id).where(PaymentMethod.id == subscription.payment_method_id, is_chargeable())):
        reason = "NO_ELIGIBLE_PAYMENT_METHODS"
    return RetryStatus(subscription.id, payment.invoice_id, subscription.payment_method_id, used, reason)


def retry(processor: PaymentProcessor, scope: Scope, payment_id: str) -> RetryAnswer:
    """Retry now, without the customer present. Opens its own sessions. Raises NotFound, Conflict (the reasons of `state_of`)."""
    with processor.database.open(scope, write=True) as db:
        state = state_of(db, payment_id, lock=True)
        if state.reason is not None:
            raise Conflict(state.reason, _MESSAGES[state.reason])
        subscription = db.scalar(select(Subscription).where(Subscription.id == state.subscription_id))
        invoice = db.scalar(select(Invoice).where(Invoice.id == state.invoice_id))
        assert subscription is not None and invoice is not None and state.method_id is not None
        processor.accounts.for_new(db, subscription.business_id)  # a readable error, before anything is written
        payment = renew.attempt(
            processor, db, invoice, subscription, usable_method(db, subscription.customer_id, state.method_id), off_session=True
        )
        payment.intent = MANUAL
        business_id, sent_id, attempt = payment.business_id, payment.id, payment.attempt
    return RetryAnswer(sent_id, invoice.id, attempt, state.sends_used + 1, processor.start(business_id, sent_id))
