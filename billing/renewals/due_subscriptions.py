"""Select the subscriptions that are to be renewed or ended now."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, and_, literal_column, or_, select

from billing.model import job_names, lifecycle
from billing.model.parties import Business
from billing.model.payments import Payment
from billing.model.subscriptions import Subscription
from core import clock, recurring_jobs
from core.db import ScopedSession


def due_rows(db: ScopedSession, limit: int) -> list[tuple[str, str]]:
    """(business_id, id) of the subscriptions to renew or end now, businesses in turn. Four statements, however many are due.

    The conditions of the two indexes (billing/model/subscriptions.py) are literals, because no engine proves them from a
    parameter. `status || ''` keeps PostgreSQL from using ix_subscriptions_due, which contains the rows of all businesses.
    """
    open_payment = select(Payment.id).where(
        Payment.business_id == Subscription.business_id,
        Payment.customer_id == Subscription.customer_id,
        Payment.subscription_id == Subscription.id,
        Payment.is_open,
    )
    always = (
        Subscription.business_id == Business.business_id,
        Subscription.collected_by == literal_column("'us'"),
        Subscription.next_billing_at <= clock.now(),
        ~open_payment.exists(),
        recurring_jobs.rested(job_names.RENEWALS, Subscription.business_id, Subscription.id),
    )
    renewing = (
        Business.archived_at.is_(None),
        Subscription.status + literal_column("''") == literal_column("'active'"),
        or_(Subscription.previous_billing_at.is_(None), Subscription.previous_billing_at < today()),
        or_(Subscription.charge_from.is_(None), Subscription.charge_from <= clock.now()),
    )
    ending = (Subscription.cancel_at_period_end, Subscription.status.in_(lifecycle.LIVE))
    found = {
        row
        for kind in (renewing, ending)
        for row in recurring_jobs.first_of_each(db, Business, Subscription.id, Subscription.next_billing_at, *always, *kind, limit=limit)
    }
    return recurring_jobs.dealt(found, limit)


def are_due() -> tuple[ColumnElement[bool], ...]:
    """Conditions on subscriptions and businesses: to be renewed or ended now, including those that back off after a failure."""
    open_payment = select(Payment.id).where(
        Payment.business_id == Subscription.business_id,
        Payment.customer_id == Subscription.customer_id,
        Payment.subscription_id == Subscription.id,
        Payment.is_open,
    )
    return (
        Subscription.next_billing_at <= clock.now(),
        Subscription.collected_by == "us",
        ~open_payment.exists(),
        or_(
            and_(
                Subscription.status == "active",
                Business.archived_at.is_(None),
                or_(Subscription.previous_billing_at.is_(None), Subscription.previous_billing_at < today()),
                or_(Subscription.charge_from.is_(None), Subscription.charge_from <= clock.now()),
            ),
            and_(Subscription.status.in_(lifecycle.LIVE), Subscription.cancel_at_period_end),
        ),
    )


def today() -> datetime:
    """The start of the current (UTC) day of the billing clock."""
    return clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
