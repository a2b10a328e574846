"""Staff read statements, and decide those that could not be matched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import or_, select, tuple_

from billing.charging.payment_processor import PaymentProcessor
from billing.model import lifecycle
from billing.model.catalogue import Product
from billing.model.lifecycle import LIVE
from billing.model.parties import Customer
from billing.model.statements import STATES, Statement
from billing.model.subscriptions import Subscription
from billing.model.withdrawals import Withdrawal
from billing.statements.carry_out import cancel_subscription, lock_statement, tell
from billing.subscriptions.end_now import cancel_now
from core import clock
from core.db import ScopedSession
from core.errors import N_, Conflict, Invalid, NotFound
from core.scope import Scope

PAGE, ANSWER_LIMIT, CHOICES = 25, 2000, 20
SHOWN_STATES = tuple(state for state in STATES if state != "received")


@dataclass(frozen=True)
class Choice:
    """A subscription that a statement may be about."""

    subscription_id: str
    product: str
    customer: str
    email: str
    next_billing_at: datetime | None


def list_statements(db: ScopedSession, text: str, status: str | None, before: tuple[datetime, str] | None) -> Sequence[Statement]:
    """Return a page of statements, newest first. `text`: a number or an email address."""
    query = select(Statement).order_by(Statement.received_at.desc(), Statement.id.desc()).limit(PAGE + 1)
    if text:
        query = query.where(or_(Statement.number == text.upper(), Statement.email_key == text.lower()))
    if status:
        query = query.where(Statement.status == status)
    if before:
        query = query.where(tuple_(Statement.received_at, Statement.id) < before)
    return db.scalars(query).all()


def get_statement(db: ScopedSession, statement_id: str) -> Statement:
    """Raises NotFound."""
    found = db.scalar(select(Statement).where(Statement.id == statement_id))
    if found is None:
        raise NotFound()
    return found


def choices(db: ScopedSession, statement: Statement, typed: str = "") -> list[Choice]:
    """Return the subscriptions of customers with the statement's address, and the one whose id staff typed."""
    query = (
        select(Subscription, Product.name, Customer)
        .join(Product, (Product.business_id == Subscription.business_id) & (Product.id == Subscription.product_id))
        .join(Customer, (Customer.business_id == Subscription.business_id) & (Customer.customer_id == Subscription.customer_id))
        .where(
            Subscription.status.in_(LIVE),
            or_(Customer.email_key == statement.email_key, Subscription.id.in_([typed.strip(), statement.subscription_id or ""])),
        )
        .order_by(Subscription.created_at)
        .limit(CHOICES)
    )
    return [
        Choice(item.id, product, customer.name or customer.email, customer.email, item.next_billing_at)
        for item, product, customer in db.execute(query)
    ]


def carry_out_for(processor: PaymentProcessor, scope: Scope, statement_id: str, subscription_id: str, *, now: bool) -> Statement:
    """Cancel `subscription_id` because of a waiting statement: at the end of its period, or `now`. Opens its own sessions.

    Raises NotFound, Conflict (state), Invalid (subscription).
    """
    with processor.database.open(scope, write=True) as db:
        statement = _waiting(db, statement_id)
        if statement.kind != "cancel":
            raise NotFound()
        customer_id = db.scalar(select(Subscription.customer_id).where(Subscription.id == subscription_id))
        if customer_id is None:
            raise Invalid(fields={"subscription": N_("Choose a subscription.")})
        if not now:
            statement.customer_id, statement.subscription_id = customer_id, subscription_id
            statement.is_for_cause, was = False, statement.is_for_cause
            cancel_subscription(db, statement)
            statement.is_for_cause = was
            _decide(statement)
            return statement
        number = statement.number
    cancel_now(processor, scope, subscription_id, statement=number)
    with processor.database.open(scope, write=True) as db:
        statement = _waiting(db, statement_id)
        statement.customer_id, statement.subscription_id = customer_id, subscription_id
        statement.status = lifecycle.move(lifecycle.STATEMENT, statement.status, "carry_out", "effective")
        statement.ends_at = clock.now()
        _decide(statement)
        tell(db, statement, "statement.effective")
        return statement


def dismiss(db: ScopedSession, statement_id: str, answer: str) -> Statement:
    """Answer a statement that is about no contract, or withdraw a planned one. Raises NotFound, Conflict (state), Invalid (answer)."""
    statement = _waiting(db, statement_id, "waiting", "planned")
    if db.scalar(select(Withdrawal.id).where(Withdrawal.id == statement_id)) is not None:
        raise Conflict("STATEMENT_DECIDED", N_("This statement has already been decided."))
    answer = answer.strip()
    if not answer:
        raise Invalid(fields={"answer": N_("Write what the customer should know.")})
    if len(answer) > ANSWER_LIMIT:
        raise Invalid(fields={"answer": N_("Please keep it under 2,000 characters.")})
    statement.status = lifecycle.move(lifecycle.STATEMENT, statement.status, "dismiss")
    statement.answer = answer
    _decide(statement)
    tell(db, statement, "statement.dismissed")
    return statement


def _waiting(db: ScopedSession, statement_id: str, *states: str) -> Statement:
    statement = lock_statement(db, statement_id)
    if statement is None:
        raise NotFound()
    if statement.status not in (states or ("waiting",)):
        raise Conflict("STATEMENT_DECIDED", N_("This statement has already been decided."))
    return statement


def _decide(statement: Statement) -> None:
    """Note when staff decided. `matched_by` stays empty if they found no contract: guesses count, see matching."""
    statement.decided_at = clock.now()
    if statement.subscription_id:
        statement.matched_by = statement.matched_by or "staff"
