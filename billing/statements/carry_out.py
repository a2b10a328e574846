"""Carry a statement out: cancel the subscription that it is about, now or in a later billing period, or leave it to staff."""

from __future__ import annotations

from sqlalchemy import or_, select

from billing.model import job_names, lifecycle
from billing.model.lifecycle import LIVE
from billing.model.parties import Business
from billing.model.policy import allows_cancelling
from billing.model.statements import Statement
from billing.model.subscriptions import Subscription, load_subscription
from billing.statements import matching
from billing.subscriptions.cancel import cancel_at_period_end
from core import clock, recurring_jobs
from core.db import Database, ScopedSession
from core.errors import Conflict
from core.outbox import emit
from core.recurring_jobs import Row, in_turns
from core.scope import Actor, everything, system

LIMIT = 50


def receive(database: Database, business_id: str, statement_id: str) -> None:
    """Match a new cancellation and carry it out, or leave it to staff. Idempotent. Withdrawals: `signed_out.py`."""
    with database.open(system(business_id), write=True) as db:
        statement = lock_statement(db, statement_id)
        if statement is None or statement.status != "received" or statement.kind != "cancel":
            return
        match = matching.find(db, statement)
        if match is None or match.subscription_id is None:
            queue(db, statement)
            return
        statement.customer_id, statement.subscription_id, statement.matched_by = match.customer_id, match.subscription_id, match.matched_by
        if not _may_cancel(db, match.subscription_id):
            queue(db, statement)
            return
    _act(database, business_id, statement_id)


def _may_cancel(db: ScopedSession, subscription_id: str) -> bool:
    """Return whether the customer may cancel without staff: a business customer may not where the business has said so."""
    business = db.scalars(select(Business)).one()
    return allows_cancelling(business, load_subscription(db, subscription_id))


def run_due(database: Database) -> int:
    """Carry out the planned statements whose billing period has begun. Businesses take turns. Returns the number of rows handled."""
    with database.open(everything("planned statements due")) as db:
        due = (
            select(Statement.business_id, Statement.id)
            .join(Subscription, (Subscription.business_id == Statement.business_id) & (Subscription.id == Statement.subscription_id))
            .where(
                Statement.status == "planned",
                or_(Subscription.next_billing_at >= Statement.wanted_at, Subscription.status.not_in(LIVE)),
                recurring_jobs.rested(job_names.PLANNED_STATEMENTS, Statement.business_id, Statement.id),
            )
        )
        rows: list[Row] = [(row[0], row[1]) for row in db.execute(in_turns(due, Statement.business_id, Statement.received_at, limit=LIMIT))]
    return recurring_jobs.run(database, job_names.PLANNED_STATEMENTS, rows, lambda business_id, id: _act(database, business_id, id))


def _act(database: Database, business_id: str, statement_id: str) -> None:
    """Cancel on behalf of the customer, in one transaction with the statement's new state."""
    with database.open(system(business_id), write=True) as db:
        customer_id = db.scalar(select(Statement.customer_id).where(Statement.id == statement_id))
    with database.open(system(business_id, Actor("customer", customer_id)), write=True) as db:
        statement = lock_statement(db, statement_id)
        if statement is not None and statement.status in ("received", "planned"):
            try:
                with db.begin_nested():
                    cancel_subscription(db, statement)
            except Conflict:  # it has ended meanwhile, or another system bills it and takes no requests
                queue(db, statement)


def cancel_subscription(db: ScopedSession, statement: Statement) -> None:
    """Schedule the end of the statement's subscription, or plan it for a later period. Raises Conflict, NotFound.

    Someone who cancels for good cause gets the ordinary cancellation at once; staff decide whether it ends sooner.
    """
    subscription = load_subscription(db, statement.subscription_id or "")
    lifecycle.move(lifecycle.SUBSCRIPTION, subscription.status, "schedule_cancel")  # a subscription that has ended has no later period
    wants_later = statement.wanted_at is not None and subscription.next_billing_at is not None
    if wants_later and subscription.next_billing_at < statement.wanted_at and not statement.is_for_cause:  # type: ignore[operator]
        if statement.status != "planned":
            statement.status = lifecycle.move(lifecycle.STATEMENT, statement.status, "carry_out", "planned")
            tell(db, statement, "statement.planned")
        return
    cancel_at_period_end(db, subscription.id, statement=statement.number)
    next_at = subscription.next_billing_at
    statement.ends_at = max(next_at, clock.now()) if next_at else None  # the period of an unpaid subscription may be over
    if statement.is_for_cause and statement.status != "waiting":
        queue(db, statement)
        return
    statement.status = lifecycle.move(lifecycle.STATEMENT, statement.status, "carry_out", "effective")
    tell(db, statement, "statement.effective")


def not_cancelled(database: Database, business_id: str, subscription_id: str) -> None:
    """Leave the statements of a subscription to staff: the system that bills it refused to cancel it, or did not answer. Idempotent."""
    with database.open(system(business_id), write=True) as db:
        found = select(Statement).where(Statement.subscription_id == subscription_id, Statement.status == "effective").with_for_update()
        for statement in db.scalars(found):
            statement.ends_at = None
            queue(db, statement)


def queue(db: ScopedSession, statement: Statement) -> None:
    statement.status = lifecycle.move(lifecycle.STATEMENT, statement.status, "queue")
    tell(db, statement, "statement.waiting")


def tell(db: ScopedSession, statement: Statement, event: str) -> None:
    emit(
        db,
        event,
        business_id=statement.business_id,
        customer_id=statement.customer_id,
        noun=statement.id,
        data={"number": statement.number},
    )


def lock_statement(db: ScopedSession, statement_id: str) -> Statement | None:
    return db.scalar(select(Statement).where(Statement.id == statement_id).with_for_update())
