"""Read statements for the pages of the declarant and for emails."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from billing.model.catalogue import Product
from billing.model.parties import Customer
from billing.model.statements import Statement
from billing.model.subscriptions import Subscription
from billing.statements.withdrawal_queries import WithdrawalState, withdrawal_by_statement
from core.db import Database
from core.scope import system


@dataclass(frozen=True)
class StatementFacts:
    """A statement with the subscription that it cancels. `product`, `customer`: None while the contract is not known.

    `is_external`: another system bills the subscription, and was asked to end it. `withdrawal`: what a withdrawal refunds.
    """

    statement: Statement
    product: str | None
    customer: Customer | None
    is_external: bool
    withdrawal: WithdrawalState | None = None


def find_statement(database: Database, business_id: str, statement_id: str) -> Statement | None:
    with database.open(system(business_id)) as db:
        return db.scalar(select(Statement).where(Statement.id == statement_id))


def statement_facts(database: Database, business_id: str, statement_id: str) -> StatementFacts | None:
    with database.open(system(business_id)) as db:
        statement = db.scalar(select(Statement).where(Statement.id == statement_id))
        if statement is None:
            return None
        theirs = (Subscription.business_id == Product.business_id) & (Subscription.product_id == Product.id)
        query = select(Product.name, Subscription.collected_by).join(Subscription, theirs)
        found = db.execute(query.where(Subscription.id == statement.subscription_id)).first()
        customer = db.scalar(select(Customer).where(Customer.customer_id == statement.customer_id))
        withdrawal = withdrawal_by_statement(db, statement_id) if statement.kind == "withdraw" else None
        if withdrawal is not None and statement.subscription_id is None:
            return StatementFacts(statement, statement.contract, customer, False, withdrawal)
        return StatementFacts(statement, found[0] if found else None, customer, bool(found and found[1] != "us"), withdrawal)
