"""Read withdrawals and what can be withdrawn from, for pages and emails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from billing.model.invoices import InvoiceLine
from billing.model.parties import Customer
from billing.model.payments import Payment, Refund
from billing.model.subscriptions import load_subscription
from billing.model.withdrawals import Withdrawal
from billing.statements.withdrawal_quote import WithdrawalQuote, quote_purchase, quote_subscription
from core.db import Database, ScopedSession
from core.errors import N_, NotFound
from core.scope import system


@dataclass(frozen=True)
class WithdrawalState:
    """A withdrawal and how far its refund is, in minor units. A refund that failed counts as not made.

    `most_minor`: what is left of a one-time purchase's payment, which another withdrawal from it may have refunded.
    """

    withdrawal: Withdrawal
    refunded_minor: int
    pending_minor: int
    most_minor: int | None = None

    @property
    def left_minor(self) -> int:
        """What staff still have to refund."""
        left = max(self.withdrawal.refund_minor - self.refunded_minor - self.pending_minor, 0)
        return left if self.most_minor is None else min(left, self.most_minor)

    @property
    def refund_by(self) -> datetime:
        return self.withdrawal.refund_by


def subscription_quote(database: Database, business_id: str, subscription_id: str) -> WithdrawalQuote:
    """Return what a withdrawal would refund now. The caller made sure that the subscription may be seen."""
    with database.open(system(business_id)) as db:
        subscription = load_subscription(db, subscription_id, lock=False)
        payments = db.scalars(select(Payment).where(Payment.subscription_id == subscription_id).order_by(Payment.created_at, Payment.id))
        return quote_subscription(db, subscription, list(payments))


def purchase_quote(database: Database, business_id: str, payment_id: str, line_ids: Sequence[str] | None) -> WithdrawalQuote:
    """As `subscription_quote`, for lines of a one-time purchase."""
    with database.open(system(business_id)) as db:
        payment = db.scalar(
            select(Payment).where(Payment.id == payment_id, Payment.subscription_id.is_(None), Payment.charge_type != "method")
        )
        if payment is None:
            raise NotFound(sentence=N_("There is no such payment."))
        return quote_purchase(db, payment, line_ids)


def withdrawals_of(db: ScopedSession, *, subscription_id: str | None = None, payment_id: str | None = None) -> list[WithdrawalState]:
    """Return the withdrawals from a subscription or a purchase, oldest first."""
    mine = Withdrawal.subscription_id == subscription_id if subscription_id else Withdrawal.payment_id == payment_id
    rows = db.scalars(select(Withdrawal).where(mine).order_by(Withdrawal.declared_at, Withdrawal.id).limit(100))
    return [state_of(db, row) for row in rows]


def withdrawal_by_statement(db: ScopedSession, statement_id: str) -> WithdrawalState | None:
    row = db.scalar(select(Withdrawal).where(Withdrawal.id == statement_id))
    return state_of(db, row) if row is not None else None


def state_of(db: ScopedSession, row: Withdrawal) -> WithdrawalState:
    """Return how far the refund is. Refunds that staff made afterwards count for the part that was left to them.

    Refunds of other withdrawals from the same purchase do not count.
    """
    about = Refund.subscription_id == row.subscription_id if row.subscription_id else Refund.payment_id == row.payment_id
    mine = about & (Refund.created_at >= row.declared_at)
    if row.payment_id:
        others = db.scalars(select(Withdrawal.refund_ids).where(Withdrawal.payment_id == row.payment_id, Withdrawal.id != row.id))
        mine &= Refund.id.not_in([refund_id for ids in others for refund_id in ids])
    found = dict(db.execute(select(Refund.status, func.sum(Refund.amount_minor)).where(mine).group_by(Refund.status)).tuples().all())
    return WithdrawalState(row, int(found.get("succeeded") or 0), int(found.get("pending") or 0), _left_of_purchase(db, row))


def _left_of_purchase(db: ScopedSession, row: Withdrawal) -> int | None:
    """Return what is left of the payment of a one-time purchase without refunds in progress."""
    payment = db.scalar(select(Payment).where(Payment.id == row.payment_id)) if row.payment_id else None
    if payment is None:
        return None
    pending = select(func.sum(Refund.amount_minor)).where(Refund.payment_id == payment.id, Refund.status == "pending")
    return max(payment.left_minor - int(db.scalar(pending) or 0), 0)


def customer_of_contract(db: ScopedSession, customer_id: str) -> Customer:
    """Return the customer who withdraws."""
    return db.scalars(select(Customer).where(Customer.customer_id == customer_id)).one()


def withdrawn_products(db: ScopedSession, payment_id: str) -> set[str]:
    """Return the ids of the products of a purchase from which the customer withdrew."""
    ids = [line_id for lines in db.scalars(select(Withdrawal.line_ids).where(Withdrawal.payment_id == payment_id)) for line_id in lines]
    found = db.scalars(select(InvoiceLine.product_id).where(InvoiceLine.id.in_(ids)))
    return {product_id for product_id in found if product_id}
