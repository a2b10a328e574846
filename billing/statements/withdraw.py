"""Withdraw from a contract: it ends at once, and what was shown before is refunded in the same transaction.

The refunds are sent after the commit, like every refund: a crash in between leaves them to the worker, under the same keys. What cannot be
refunded at once (a dispute, another refund in progress, another billing system) is left to staff, with the law's last day.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from billing.charging.payment_processor import PaymentProcessor
from billing.charging.plan_change_effects import cancel_scheduled
from billing.charging.purchase_keys import withdraw_keys
from billing.charging.refunds import open_plan_change, request_refund
from billing.external.enqueue import is_delegated
from billing.model import lifecycle
from billing.model.lifecycle import LIVE
from billing.model.payments import Payment
from billing.model.quotes import scheduled_change
from billing.model.statements import Statement
from billing.model.subscriptions import Subscription, load_subscription
from billing.model.withdrawals import Withdrawal
from billing.pricing import credit
from billing.rights.withdrawal import refund_by
from billing.statements.carry_out import tell
from billing.statements.matching import WITHDRAWABLE
from billing.statements.withdrawal_quote import Part, WithdrawalQuote, quote_purchase, quote_subscription
from billing.subscriptions.cancel import EXTERNAL, end
from core import clock
from core.db import ScopedSession
from core.errors import N_, Conflict, NotFound
from core.scope import Scope, system

REFUSED = {
    "none": N_("There is no right to withdraw from this contract."),
    "over": N_("The period for withdrawing has ended."),
    "delivered": N_("The right to withdraw ended when the delivery began."),
}
CHANGED = N_("The amounts have changed. Check them and confirm again.")
REASON = "Withdrawal %s"


@dataclass(frozen=True)
class Contract:
    """A subscription, or lines of a one-time purchase; no lines: all of it. `declared_at`: when it was declared, if not now."""

    subscription_id: str | None = None
    payment_id: str | None = None
    line_ids: Sequence[str] | None = None
    declared_at: datetime | None = None


def withdraw(
    processor: PaymentProcessor,
    scope: Scope,
    contract: Contract,
    *,
    business_id: str,
    statement: Callable[[ScopedSession], Statement],
    shown_minor: int | None,
) -> str:
    """End the contract, request its refunds and return the id of the statement. Opens its own sessions. The scope sees the contract.

    Idempotent: a second call returns the statement of the first. `statement` makes or loads the statement in the transaction.
    `shown_minor`: what the customer saw; None: nothing was shown, the law's amount counts. Raises NotFound, Conflict
    WITHDRAWAL_NOT_POSSIBLE, WITHDRAWAL_CHANGED.
    """
    if contract.subscription_id:
        _close_plan_change_page(processor, business_id, contract.subscription_id)
    with processor.database.open(system(business_id, scope.actor), write=True) as db:
        done = _withdraw_subscription if contract.subscription_id else _withdraw_purchase
        statement_id, refund_ids, open_ids = done(db, processor, contract, statement, shown_minor)
    for refund_id in refund_ids:
        processor.start_refund(business_id, refund_id)
    for payment_id in open_ids:
        processor.cancel(business_id, payment_id)
    return statement_id


Outcome = tuple[str, list[str], list[str]]
"""(statement, refunds to send, open payments to cancel)"""


def _withdraw_subscription(
    db: ScopedSession,
    processor: PaymentProcessor,
    contract: Contract,
    statement: Callable[[ScopedSession], Statement],
    shown_minor: int | None,
) -> Outcome:
    # lock payments before the subscription, in the order that recording an outcome locks them
    mine = select(Payment).where(Payment.subscription_id == contract.subscription_id).order_by(Payment.created_at, Payment.id)
    payments = list(db.scalars(mine.with_for_update()))
    subscription = load_subscription(db, contract.subscription_id or "")
    earlier = db.scalar(select(Withdrawal.id).where(Withdrawal.subscription_id == subscription.id))
    if earlier is not None:
        return earlier, [], []
    quote = quote_subscription(db, subscription, payments, contract.declared_at)
    check(quote, shown_minor, can_end=subscription.status in WITHDRAWABLE)
    row = statement(db)
    open_ids = [payment.id for payment in payments if payment.is_open]
    made = _record(db, row, quote, subscription.customer_id, subscription_id=subscription.id)
    left = _request_refunds(db, processor, made, quote.parts)
    is_ended_here = _end(db, subscription)
    row.ends_at, row.subscription_id = clock.now() if is_ended_here else None, subscription.id
    _finish(db, row, made, waits=left or not is_ended_here)
    return row.id, list(made.refund_ids), open_ids


def _withdraw_purchase(
    db: ScopedSession,
    processor: PaymentProcessor,
    contract: Contract,
    statement: Callable[[ScopedSession], Statement],
    shown_minor: int | None,
) -> Outcome:
    payment = db.scalar(select(Payment).where(Payment.id == contract.payment_id).with_for_update())
    if payment is None or payment.subscription_id is not None or payment.charge_type == "method":
        raise NotFound(sentence=N_("There is no such payment."))
    quote = quote_purchase(db, payment, contract.line_ids, contract.declared_at)
    if not quote.wanted:
        earlier = db.scalar(select(Withdrawal.id).where(Withdrawal.payment_id == payment.id).order_by(Withdrawal.declared_at.desc()))
        if earlier is not None and quote.right.is_open:
            return earlier, [], []
    check(quote, shown_minor, can_end=payment.status == "succeeded" and bool(quote.wanted))
    row = statement(db)
    made = _record(db, row, quote, payment.customer_id, payment_id=payment.id)
    left = _request_refunds(db, processor, made, quote.parts)
    products = {line.product_id for line in quote.lines if line.id in quote.wanted and line.product_id}
    withdraw_keys(db, payment, products)
    row.ends_at = clock.now()
    _finish(db, row, made, waits=left)
    return row.id, list(made.refund_ids), []


def check(quote: WithdrawalQuote, shown_minor: int | None, *, can_end: bool) -> None:
    """Raise Conflict if the customer has no right (any more), or did not see this amount."""
    if not quote.right.is_open:
        raise Conflict("WITHDRAWAL_NOT_POSSIBLE", REFUSED[quote.right.state])
    if not can_end:
        raise Conflict("WITHDRAWAL_NOT_POSSIBLE", N_("There is nothing left to withdraw from."))
    if shown_minor is not None and shown_minor != quote.refund_minor:
        raise Conflict("WITHDRAWAL_CHANGED", CHANGED)


def _record(
    db: ScopedSession,
    row: Statement,
    quote: WithdrawalQuote,
    customer_id: str,
    *,
    subscription_id: str | None = None,
    payment_id: str | None = None,
) -> Withdrawal:
    row.customer_id = customer_id
    made = Withdrawal(
        business_id=row.business_id,
        customer_id=customer_id,
        id=row.id,
        number=row.number,
        subscription_id=subscription_id,
        payment_id=payment_id,
        line_ids=list(quote.wanted),
        currency=quote.currency,
        refund_minor=quote.refund_minor,
        kept_minor=quote.kept_minor,
        refund_ids=[],
        refund_by=refund_by(quote.right.rule, row.received_at),
        declared_at=row.received_at,
    )
    db.add(made)
    db.flush()
    return made


def _request_refunds(db: ScopedSession, processor: PaymentProcessor, made: Withdrawal, parts: Sequence[Part]) -> bool:
    """Request what can be refunded at once. Returns whether something is left to staff."""
    left = False
    for part in parts:
        if not part.back_minor:
            continue
        if part.blocked:
            left = True
            continue
        try:
            with db.begin_nested():
                if part.spent_minor:
                    credit.release_spent(db, part.payment)
                refund = request_refund(
                    db, part.payment, part.back_minor, REASON % made.number, processor.settings, lines=part.lines,
                )  # fmt: skip
        except Conflict:  # what the quote cannot see; staff refund it
            left = True
            continue
        made.refund_ids = [*made.refund_ids, refund.id]
    return left


def _end(db: ScopedSession, subscription: Subscription) -> bool:
    """End the subscription now. Returns whether it ended here; another billing system is asked to end it, if it can be."""
    if subscription.status not in LIVE:
        return True
    lifecycle.move(lifecycle.SUBSCRIPTION, subscription.status, "cancel")
    if subscription.collected_by != "us":
        try:
            with db.begin_nested():
                is_delegated(db, subscription, "end", EXTERNAL, feedback=None, comment=None)
        except Conflict:  # it takes no such request, or another one is pending: staff end it there
            pass
        return False
    end(db, subscription)
    subscription.cancel_at_period_end = False
    subscription.cancelled_by = {"type": "customer"}
    planned = scheduled_change(db, subscription)
    if planned is not None:
        cancel_scheduled(db, subscription, planned)
    return True


def _finish(db: ScopedSession, row: Statement, made: Withdrawal, *, waits: bool) -> None:
    row.answer_by = made.refund_by if waits else row.answer_by
    if waits and row.status == "waiting":  # staff found the contract, and still have to refund something
        tell(db, row, "statement.waiting")
        return
    row.status = lifecycle.move(lifecycle.STATEMENT, row.status, "queue" if waits else "carry_out", "waiting" if waits else "effective")
    tell(db, row, "statement.waiting" if waits else "statement.effective")


def _close_plan_change_page(processor: PaymentProcessor, business_id: str, subscription_id: str) -> None:
    """Cancel an open plan change page. Only the processor's answer closes it."""
    with processor.database.open(system(business_id)) as db:
        waiting = open_plan_change(db, subscription_id)
    if waiting is not None and waiting.status.startswith("requires_"):
        processor.cancel(waiting.business_id, waiting.id)
