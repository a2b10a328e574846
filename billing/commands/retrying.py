"""Trying an unpaid invoice once more on a business's word, with the method that the subscription pays with."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from billing import renewals
from billing.commands.paying import UNPAID, open_invoice
from billing.invoices import Invoice
from billing.method_use import usable
from billing.payments import Payment, PaymentMethod
from billing.subscriptions import Subscription
from billing.till import Till
from core.db import ScopedSession
from core.errors import Conflict, NotFound
from core.scope import Scope

SENDS = 10
MANUAL = {"retry": "manual"}
_WORDS = {
    "NOTHING_DUE": "There is nothing to pay any more for what this payment was for.",
    "SUBSCRIPTION_INACTIVE": "The subscription is not unpaid.",
    "PREVIOUS_PAYMENT_PENDING": "A payment for this is under way. Wait until it is settled.",
    "SUBSCRIPTION_PAYMENT_RETRY_LIMIT_EXCEEDED": "It was tried ten times. The customer has to choose another way to pay.",
    "NO_ELIGIBLE_PAYMENT_METHODS": "The subscription has no saved way to pay.",
}


@dataclass(frozen=True)
class State:
    """`reason`: the code that `retry` would be refused with; None when it may be tried. `sends_used`: how often it was tried like this."""

    subscription_id: str | None
    invoice_id: str | None
    method_id: str | None
    sends_used: int
    reason: str | None


@dataclass(frozen=True)
class Sent:
    payment_id: str
    invoice_id: str
    attempt: int
    sends_used: int
    status: str


def state_of(db: ScopedSession, payment_id: str, *, lock: bool = False) -> State:
    """Whether what this payment was for can be tried again. Raises NotFound."""
    payment = db.scalar(select(Payment).where(Payment.id == payment_id))
    if payment is None:
        raise NotFound(sentence="There is no such payment.")
    if payment.subscription_id is None or payment.invoice_id is None or payment.status not in ("failed", "cancelled"):
        return State(payment.subscription_id, payment.invoice_id, None, 0, "NOTHING_DUE")
    mine = select(Subscription).where(Subscription.id == payment.subscription_id)
    subscription = db.scalar(mine.with_for_update() if lock else mine)
    assert subscription is not None
    used = sum(1 for one in db.scalars(select(Payment.intent).where(Payment.invoice_id == payment.invoice_id)) if one == MANUAL)
    due = open_invoice(db, subscription)
    reason = None
    if subscription.status not in UNPAID:
        reason = "SUBSCRIPTION_INACTIVE"
    elif due is None or due.id != payment.invoice_id:
        reason = "NOTHING_DUE"
    elif db.scalar(select(Payment.id).where(Payment.subscription_id == subscription.id, Payment.is_open).limit(1)):
        reason = "PREVIOUS_PAYMENT_PENDING"
    elif used >= SENDS:
        reason = "SUBSCRIPTION_PAYMENT_RETRY_LIMIT_EXCEEDED"
    elif not db.scalar(
        select(PaymentMethod.id).where(PaymentMethod.id == subscription.payment_method_id, PaymentMethod.removed_at.is_(None))
    ):
        reason = "NO_ELIGIBLE_PAYMENT_METHODS"
    return State(subscription.id, payment.invoice_id, subscription.payment_method_id, used, reason)


def retry(till: Till, scope: Scope, payment_id: str) -> Sent:
    """Try it now; nobody is there to answer their bank. Opens its own sessions. Raises NotFound, Conflict (the reasons of `state_of`)."""
    till.gateway  # noqa: B018 - raises in words when there is no provider, before anything is written
    with till.database.open(scope, write=True) as db:
        state = state_of(db, payment_id, lock=True)
        if state.reason is not None:
            raise Conflict(state.reason, _WORDS[state.reason])
        subscription = db.scalar(select(Subscription).where(Subscription.id == state.subscription_id))
        invoice = db.scalar(select(Invoice).where(Invoice.id == state.invoice_id))
        assert subscription is not None and invoice is not None and state.method_id is not None
        payment = renewals.attempt(till, db, invoice, subscription, usable(db, subscription.customer_id, state.method_id), off_session=True)
        payment.intent = MANUAL
        business_id, sent_id, attempt = payment.business_id, payment.id, payment.attempt
    return Sent(sent_id, invoice.id, attempt, state.sends_used + 1, till.start(business_id, sent_id))
