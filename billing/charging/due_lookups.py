"""Finds the payments and refunds that the reconciler has to look up or record now, businesses in turn."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, or_, select

from billing.charging.reconciliation_exceptions import ReconciliationException
from billing.model import job_names
from billing.model.payment_accounts import PaymentAccount
from billing.model.payments import Payment, Refund
from core import clock, recurring_jobs
from core.db import Database, ScopedSession
from core.scope import everything

Rows = list[recurring_jobs.Row]


def open_rows(database: Database, limit: int) -> tuple[Rows, Rows]:
    """Return the open payments and the pending refunds that are due for a look-up, as (business id, id)."""
    at = clock.wall()
    found: list[Rows] = []
    with database.open(everything("reconcile open payments")) as db:
        for table, is_open in ((Payment, Payment.is_open), (Refund, Refund.status == "pending")):
            query = select(table.business_id, table.id).where(
                is_open,
                table.account_id.is_(None),
                or_(table.check_at.is_(None), table.check_at <= at),
                recurring_jobs.rested(job_names.RECONCILIATION, table.business_id, table.id),
            )
            found.append(_in_turns(db, query, table.business_id, table.check_at, table.id, limit))
    return found[0], found[1]


def unbooked_rows(database: Database, limit: int) -> tuple[Rows, Rows]:
    """Return the payments and refunds in the minimal form whose full recording is due, as (business id, id).

    Open payments are not included, because `open_rows` returns them.
    """
    at = clock.wall()
    found: list[Rows] = []
    with database.open(everything("money that was not booked in full")) as db:
        for table, settled in ((Payment, ~Payment.is_open), (Refund, Refund.status != "pending")):
            query = (
                select(ReconciliationException.business_id, ReconciliationException.id)
                .join(table, (table.business_id == ReconciliationException.business_id) & (table.id == ReconciliationException.id))
                .where(
                    ReconciliationException.reason == "not_recorded",
                    ReconciliationException.closed_at.is_(None),
                    settled,
                    or_(table.check_at.is_(None), table.check_at <= at),
                    recurring_jobs.rested(job_names.RECONCILIATION, table.business_id, table.id),
                )
            )
            found.append(_in_turns(db, query, ReconciliationException.business_id, table.check_at, ReconciliationException.id, limit))
    return found[0], found[1]


def settled_refunds(database: Database, limit: int) -> Rows:
    """Return the refunds that succeeded and are due to be looked up again, as (business id, id). Those of closed accounts are left out."""
    unbooked = select(ReconciliationException.id).where(
        ReconciliationException.business_id == Refund.business_id,
        ReconciliationException.id == Refund.id,
        ReconciliationException.reason == "not_recorded",
        ReconciliationException.closed_at.is_(None),
    )
    closed = select(PaymentAccount.id).where(
        PaymentAccount.business_id == Refund.business_id, PaymentAccount.id == Refund.payment_account_id, PaymentAccount.state == "closed"
    )
    query = select(Refund.business_id, Refund.id).where(
        Refund.status == "succeeded",
        Refund.check_at <= clock.wall(),
        Refund.account_id.is_(None),
        ~unbooked.exists(),
        ~closed.exists(),
        recurring_jobs.rested(job_names.RECONCILIATION, Refund.business_id, Refund.id),
    )
    with database.open(everything("refunds that may have failed since")) as db:
        return _in_turns(db, query, Refund.business_id, Refund.check_at, Refund.id, limit)


def _in_turns(db: ScopedSession, query: Select[Any, Any], business_id: Any, check_at: Any, row_id: Any, limit: int) -> Rows:
    found = db.execute(recurring_jobs.in_turns(query, business_id, check_at, row_id, limit=limit))
    return [(row_business_id, item) for row_business_id, item in found]
