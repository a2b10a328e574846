"""Reports billing metrics for operators: due renewals, charges without an outcome, and open reconciliation exceptions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import get_args

from prometheus_client.metrics_core import Metric
from sqlalchemy import func, select

from billing.charging import reconciliation_exceptions
from billing.charging.reconciliation_exceptions import ReconciliationException
from billing.model.parties import Business
from billing.model.payments import Payment, Refund
from billing.model.subscriptions import Subscription
from billing.renewals.due_subscriptions import are_due
from core import clock
from core.db import ScopedSession
from core.metrics.snapshot import COUNTED, Snapshot, age, count_due, gauge


def register(facts: Snapshot) -> None:
    facts.add("renewals", _renewals)
    facts.add("reconciliation", _exceptions)
    facts.add_queue("open payments", _open_payments)
    facts.add_queue("open refunds", _open_refunds)


def _renewals(db: ScopedSession) -> Iterator[Metric]:
    """Count the subscriptions that the job "renewals" has to process now, including failed ones that wait for a retry."""
    due = (
        select(Subscription.next_billing_at.label("at"))
        .join(Business, Business.business_id == Subscription.business_id)
        .where(*are_due())
        .order_by(Subscription.next_billing_at)
        .limit(COUNTED)
        .subquery()
    )
    count, oldest = db.execute(select(func.count(), func.min(due.c.at)).select_from(due)).one()
    yield gauge("portal_renewals_due", f"Subscriptions to renew or to end now, up to {COUNTED}", {(): count})
    yield gauge("portal_renewals_oldest_seconds", "Delay of the oldest due renewal, by the billing clock", {(): age(oldest, clock.now())})


def _exceptions(db: ScopedSession) -> Iterator[Metric]:
    """Count the open reconciliation exceptions by reason, and the payments with an unknown outcome."""
    found = dict.fromkeys(get_args(reconciliation_exceptions.Reason), 0.0)
    oldest: datetime | None = None
    rows = db.execute(
        select(ReconciliationException.reason, func.count(), func.min(ReconciliationException.noted_at))
        .where(ReconciliationException.closed_at.is_(None))
        .group_by(ReconciliationException.reason)
    )
    for reason, count, since in rows:
        found[reason] = count
        oldest = min(since, oldest or since)
    yield gauge("portal_reconciliation_exceptions", "Payments and refunds that need manual reconciliation", found, "reason")
    yield gauge("portal_reconciliation_oldest_seconds", "Age of the oldest open reconciliation exception", {(): age(oldest)})
    unknown = db.scalar(select(func.count()).select_from(Payment).where(Payment.is_open, Payment.unknown)) or 0
    yield gauge("portal_payments_unknown", "Payments whose outcome is unknown", {(): unknown})


def _open_payments(db: ScopedSession) -> tuple[int, datetime | None]:
    return count_due(db, Payment.check_at, Payment.is_open, Payment.account_id.is_(None), Payment.check_at <= clock.wall())


def _open_refunds(db: ScopedSession) -> tuple[int, datetime | None]:
    return count_due(db, Refund.check_at, Refund.status == "pending", Refund.account_id.is_(None), Refund.check_at <= clock.wall())
