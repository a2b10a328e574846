"""Carry out withdrawals that were declared without signing in: at once if the contract is proven, otherwise when staff found it."""

from __future__ import annotations

from sqlalchemy import select

from billing.charging.payment_processor import PaymentProcessor
from billing.model.payments import Payment
from billing.model.statements import Statement
from billing.statements import matching
from billing.statements.carry_out import lock_statement, queue
from billing.statements.withdraw import Contract, withdraw
from billing.statements.withdrawal_quote import quote_purchase
from core import clock
from core.db import ScopedSession
from core.errors import N_, Conflict, NotFound
from core.scope import Actor, Scope, system


def receive(processor: PaymentProcessor, business_id: str, statement_id: str) -> None:
    """Match a new statement and withdraw from its contract, or leave it to staff. Idempotent."""
    with processor.database.open(system(business_id)) as db:
        statement = db.scalar(select(Statement).where(Statement.id == statement_id, Statement.kind == "withdraw"))
        if statement is None or statement.status != "received":
            return
        match, declared_at = matching.find(db, statement), statement.received_at
    if match is not None and not _may_mean_one_item(processor, business_id, match, statement.contract):
        contract = Contract(match.subscription_id, match.payment_id, declared_at=declared_at)
        try:
            actor = Actor("customer", match.customer_id)
            _withdraw(processor, system(business_id, actor), statement_id, contract, matched_by=match.matched_by)
            return
        except (Conflict, NotFound):  # no right (any more), by what we know: staff decide
            pass
    with processor.database.open(system(business_id), write=True) as db:
        waiting = lock_statement(db, statement_id)
        if waiting is not None and waiting.status == "received":
            if match is not None:
                waiting.customer_id, waiting.subscription_id, waiting.matched_by = (
                    match.customer_id,
                    match.subscription_id,
                    match.matched_by,
                )
            queue(db, waiting)


def _may_mean_one_item(processor: PaymentProcessor, business_id: str, match: matching.Match, contract: str) -> bool:
    """Whether a purchase has several items and the text says more than its number: then staff read which item is meant."""
    if match.payment_id is None or len(contract.split()) == 1:
        return False
    with processor.database.open(system(business_id)) as db:
        payment = db.scalars(select(Payment).where(Payment.id == match.payment_id)).one()
        return len(quote_purchase(db, payment).lines) > 1


def carry_out_for(processor: PaymentProcessor, scope: Scope, statement_id: str, contract: Contract, shown_minor: int) -> None:
    """Withdraw from the contract that staff found for a waiting statement. It counts from when it was received.

    Raises NotFound, Conflict (decided, changed, no right when it was received).
    """
    _withdraw(processor, scope, statement_id, contract, matched_by="staff", shown_minor=shown_minor)


def _withdraw(
    processor: PaymentProcessor, scope: Scope, statement_id: str, contract: Contract, *, matched_by: str, shown_minor: int | None = None
) -> None:
    assert scope.business is not None

    def load(db: ScopedSession) -> Statement:
        row = lock_statement(db, statement_id)
        if row is None:
            raise NotFound()
        if row.kind != "withdraw" or row.status not in ("received", "waiting"):
            raise Conflict("STATEMENT_DECIDED", N_("This statement has already been decided."))
        row.matched_by = row.matched_by or matched_by
        if matched_by == "staff":
            row.decided_at = clock.now()
        return row

    withdraw(processor, scope, contract, business_id=scope.business, statement=load, shown_minor=shown_minor)
