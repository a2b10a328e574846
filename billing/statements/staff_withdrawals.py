"""Staff find the contract of a withdrawal that waits, and note that a refund which was left to them, or which failed, is made."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import or_, select

from billing.charging.payment_processor import PaymentProcessor
from billing.model import lifecycle
from billing.model.catalogue import Product
from billing.model.disputes import Dispute
from billing.model.invoices import Invoice
from billing.model.lifecycle import DISPUTE_RETURNED
from billing.model.parties import Customer
from billing.model.payments import Payment, Refund
from billing.model.statements import Statement
from billing.model.subscriptions import Subscription, load_subscription
from billing.model.withdrawals import Withdrawal
from billing.statements.carry_out import lock_statement, queue, tell
from billing.statements.matching import WITHDRAWABLE
from billing.statements.signed_out import carry_out_for
from billing.statements.staff import CHOICES
from billing.statements.withdraw import Contract
from billing.statements.withdrawal_queries import state_of, withdrawal_by_statement
from billing.statements.withdrawal_quote import WithdrawalQuote, quote_purchase, quote_subscription
from core import clock
from core.db import Database, ScopedSession
from core.errors import N_, Conflict, Invalid, NotFound
from core.scope import Scope, system


@dataclass(frozen=True)
class WithdrawalChoice:
    """A contract that a statement of withdrawal may be about, with what would be refunded."""

    id: str
    name: str
    customer: str
    email: str
    contract: Contract
    quote: WithdrawalQuote


def withdrawal_choices(db: ScopedSession, statement: Statement, typed: str = "") -> list[WithdrawalChoice]:
    """Return the subscriptions and purchases of customers with the statement's address, and the one whose id staff typed."""
    at, ids = statement.received_at, [typed.strip(), statement.subscription_id or ""]
    same = (Customer.business_id == Subscription.business_id) & (Customer.customer_id == Subscription.customer_id)
    sold = (Product.business_id == Subscription.business_id) & (Product.id == Subscription.product_id)
    query = (
        select(Subscription, Product.name, Customer)
        .join(Product, sold)
        .join(Customer, same)
        .where(Subscription.status.in_(WITHDRAWABLE), or_(Customer.email_key == statement.email_key, Subscription.id.in_(ids)))
        .order_by(Subscription.created_at.desc())
        .limit(CHOICES)
    )
    out = []
    for row, name, customer in db.execute(query):
        payments = list(db.scalars(select(Payment).where(Payment.subscription_id == row.id).order_by(Payment.created_at, Payment.id)))
        contract = Contract(subscription_id=row.id, declared_at=at)
        quote = quote_subscription(db, row, payments, at)
        out.append(WithdrawalChoice(row.id, name, customer.name or customer.email, customer.email, contract, quote))
    bought = (
        select(Payment, Invoice.description, Customer)
        .join(Customer, (Customer.business_id == Payment.business_id) & (Customer.customer_id == Payment.customer_id))
        .join(Invoice, (Invoice.business_id == Payment.business_id) & (Invoice.id == Payment.invoice_id))
        .where(
            Payment.subscription_id.is_(None),
            Payment.status == "succeeded",
            or_(Customer.email_key == statement.email_key, Payment.id.in_(ids)),
        )
        .order_by(Payment.created_at.desc())
        .limit(CHOICES)
    )
    for paid, name, customer in db.execute(bought):
        contract = Contract(payment_id=paid.id, declared_at=at)
        quote = quote_purchase(db, paid, None, at)
        if quote.wanted:
            out.append(WithdrawalChoice(paid.id, name, customer.name or customer.email, customer.email, contract, quote))
    return out


def carry_out(processor: PaymentProcessor, scope: Scope, statement_id: str, chosen: str, shown_minor: int) -> None:
    """Withdraw from the chosen contract of a waiting statement. Raises NotFound, Invalid (contract), Conflict."""
    with processor.database.open(scope) as db:
        statement = db.scalar(select(Statement).where(Statement.id == statement_id, Statement.kind == "withdraw"))
        if statement is None:
            raise NotFound()
        found = {item.id: item for item in withdrawal_choices(db, statement, chosen)}
    if chosen not in found:
        raise Invalid(fields={"contract": N_("Choose a contract.")})
    carry_out_for(processor, scope, statement_id, found[chosen].contract, shown_minor)


def settle(db: ScopedSession, statement_id: str) -> Statement:
    """Note that the refund which was left to staff is made. Raises NotFound, Conflict (state, or no contract was found yet)."""
    statement = lock_statement(db, statement_id)
    if statement is None:
        raise NotFound()
    if statement.status != "waiting" or withdrawal_by_statement(db, statement_id) is None:
        raise Conflict("STATEMENT_DECIDED", N_("This statement has already been decided."))
    statement.status = lifecycle.move(lifecycle.STATEMENT, statement.status, "carry_out", "effective")
    statement.decided_at = clock.now()
    tell(db, statement, "statement.settled")
    return statement


def refund_failed(database: Database, business_id: str, refund_id: str) -> None:
    """Leave a withdrawal to staff if one of its refunds failed, or one that had been requested before it. Idempotent."""
    with database.open(system(business_id), write=True) as db:
        refund = db.scalar(select(Refund).where(Refund.id == refund_id))
        if refund is None or refund.status != "failed":
            return
        _owe_again(db, refund.subscription_id)
        about = (Withdrawal.subscription_id == refund.subscription_id) | (Withdrawal.payment_id == refund.payment_id)
        for row in db.scalars(select(Withdrawal).where(about)):
            statement = lock_statement(db, row.id)
            if refund_id in row.refund_ids and statement is not None and statement.status == "effective":
                statement.answer_by = row.refund_by
                queue(db, statement)


def dispute_returned(database: Database, business_id: str, dispute_id: str) -> None:
    """Leave a withdrawal to staff if its customer disputed a payment, and the bank gave the money to the business. Idempotent."""
    with database.open(system(business_id), write=True) as db:
        dispute = db.scalar(select(Dispute).where(Dispute.id == dispute_id))
        if dispute is not None and dispute.status in DISPUTE_RETURNED:
            _owe_again(db, dispute.subscription_id)


def _owe_again(db: ScopedSession, subscription_id: str | None) -> None:
    """Add to a withdrawal what had been on its way to the customer when it was declared, and stayed with the business after all."""
    if subscription_id is None:
        return
    # lock payments before the subscription, in the order that recording an outcome locks them
    mine = select(Payment).where(Payment.subscription_id == subscription_id).order_by(Payment.created_at, Payment.id)
    payments = list(db.scalars(mine.with_for_update()))
    row = db.scalar(select(Withdrawal).where(Withdrawal.subscription_id == subscription_id))
    if row is None:
        return
    statement, subscription, state = lock_statement(db, row.id), load_subscription(db, subscription_id), state_of(db, row)
    quote = quote_subscription(db, subscription, payments, row.declared_at)
    owed = state.refunded_minor + state.pending_minor + quote.refund_minor
    if statement is None or owed <= row.refund_minor:
        return
    row.refund_minor = owed
    if statement.status == "effective":
        statement.answer_by = row.refund_by
        queue(db, statement)
