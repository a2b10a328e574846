"""Remind customers of unpaid renewals. Run by the worker; idempotent; follows the billing clock.

* notices before a charge: `notice_plan.py` (when), `notices.py`
* dunning: 1, 3, 5 and 7 days after a subscription went on hold; `dunning.recovered` when it was paid
* automatic retries after soft declines, and the end of a grace period: `retry.py`, only where a business enabled them
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import exists, or_, select

from billing.charging.payment_processor import PaymentProcessor
from billing.model import job_names
from billing.model.events import emit_about
from billing.model.invoices import Invoice
from billing.model.lifecycle import ENDED
from billing.model.payment_accounts import takes_charges
from billing.model.payments import Payment
from billing.model.sent_notices import SentNotice, record_once
from billing.model.subscriptions import Subscription
from billing.price_changes import carry_out
from billing.renewals import notice_plan, price_changes, retry
from billing.renewals.due_notices import IS_TRADING, lock_subscription, select_due
from billing.renewals.notices import expiring_cards, remind_expiry, remind_renewal, renewals_to_announce
from core import clock, recurring_jobs
from core.db import ScopedSession
from core.recurring_jobs import Row
from core.scope import everything, system

DUNNING_DAYS = (1, 3, 5, 7)

IS_REFUNDED = exists().where(
    Invoice.business_id == Subscription.business_id,
    Invoice.subscription_id == Subscription.id,
    Invoice.status == "open",
    Payment.business_id == Invoice.business_id,
    Payment.invoice_id == Invoice.id,
    Payment.status == "succeeded",
    Payment.refunded_minor >= Payment.amount_minor,
)
"""Staff refunded the payment of the open invoice before it was recorded, so no reminder is sent for it."""


AWAITS_BANK = exists().where(
    Payment.business_id == Subscription.business_id, Payment.subscription_id == Subscription.id, Payment.is_open, Payment.working_days > 0
)
"""The bank confirms a payment within days: no reminder is sent meanwhile."""


def run_due(processor: PaymentProcessor) -> int:
    """Run everything that is due now, in small batches. Returns the number of rows handled.

    A business without an open payment account charges nothing and nobody can pay it, so its customers get no notices or reminders.
    """
    return sum(
        (
            _run_job(processor, job_names.NOTICE_PLANS, notice_plan.unplanned, notice_plan.plan),
            _run_job(processor, job_names.RENEWAL_NOTICES, renewals_to_announce, remind_renewal),
            _run_job(processor, job_names.EXPIRY_NOTICES, expiring_cards, remind_expiry),
            _run_job(processor, job_names.PRICE_CHANGE_PLANS, price_changes.to_plan, carry_out.plan),
            _run_job(processor, job_names.PRICE_CHANGE_STOPS, price_changes.to_stop, carry_out.stop),
            _run_job(processor, job_names.PRICE_CHANGE_NOTICES, price_changes.to_announce, carry_out.announce),
            _run_job(processor, job_names.DUNNING, _on_hold, dun),
            _run_job(processor, job_names.DUNNING_ENDS, _recovered, recover),
            retry.run_due(processor),
        )
    )


def _run_job(
    processor: PaymentProcessor, job: str, due: Callable[[ScopedSession], list[Row]], act: Callable[[ScopedSession, str], None]
) -> int:
    """Run one job. Businesses take turns, and a failing row backs off (core/recurring_jobs.py)."""
    with processor.database.open(everything("reminders and dunning due")) as db:
        rows = due(db)

    def do(business_id: str, row_id: str) -> None:
        with processor.database.open(system(business_id), write=True) as db:
            act(db, row_id)

    return recurring_jobs.run(processor.database, job, rows, do)


def _on_hold(db: ScopedSession) -> list[Row]:
    """Subscriptions on hold whose next reminder is due."""
    at, out = clock.now(), []
    for step, days in reversed(list(enumerate(DUNNING_DAYS, 1))):
        reminded = select(SentNotice.id).where(
            SentNotice.business_id == Subscription.business_id,
            SentNotice.noun_id == Subscription.id,
            SentNotice.purpose == "dunning",
            SentNotice.for_at == Subscription.on_hold_at,
            SentNotice.step >= step,
        )
        out += select_due(
            db,
            job_names.DUNNING,
            Subscription,
            Subscription.on_hold_at,
            (
                select(Subscription.business_id, Subscription.id).where(
                    Subscription.status == "on_hold",
                    Subscription.collected_by == "us",
                    Subscription.cancel_at_period_end.is_(False),
                    IS_TRADING,
                    takes_charges(db, Subscription),
                    ~IS_REFUNDED,
                    ~AWAITS_BANK,
                    Subscription.on_hold_at <= at - timedelta(days=days),
                    ~reminded.exists(),
                )
            ),
        )
    return list(dict.fromkeys(out))


def dun(db: ScopedSession, subscription_id: str) -> None:
    """Send the latest reminder that is due. Reminders missed during downtime are skipped."""
    subscription = lock_subscription(db, subscription_id)
    if subscription is None or subscription.status != "on_hold" or subscription.on_hold_at is None:
        return
    if db.scalar(select(Subscription.id).where(Subscription.id == subscription_id, AWAITS_BANK)) is not None:
        return
    step = sum(clock.now() >= subscription.on_hold_at + timedelta(days=days) for days in DUNNING_DAYS)
    of_hold = (SentNotice.purpose == "dunning", SentNotice.noun_id == subscription.id, SentNotice.for_at == subscription.on_hold_at)
    begun = db.scalar(select(SentNotice.id).where(*of_hold).limit(1))
    if step and record_once(
        db, (subscription.business_id, subscription.customer_id), "dunning", subscription.id, subscription.on_hold_at, step
    ):
        owed = (
            select(Invoice.due_minor)
            .where(Invoice.subscription_id == subscription.id, Invoice.status == "open")
            .order_by(Invoice.issued_at)
        )
        emit_about(
            db,
            subscription,
            "dunning.reminder" if begun else "dunning.started",
            step=step,
            steps=len(DUNNING_DAYS),
            on_hold_at=subscription.on_hold_at.isoformat(),
            amount=db.scalar(owed.limit(1)),
            currency=subscription.currency,
        )


def _recovered(db: ScopedSession) -> list[Row]:
    """Subscriptions with open dunning whose hold is over."""
    unclosed = select(SentNotice.id).where(
        SentNotice.business_id == Subscription.business_id,
        SentNotice.noun_id == Subscription.id,
        SentNotice.purpose == "dunning",
        SentNotice.closed_at.is_(None),
        or_(Subscription.status != "on_hold", Subscription.on_hold_at != SentNotice.for_at),
    )
    rows = select(Subscription.business_id, Subscription.id).where(unclosed.exists())
    return select_due(db, job_names.DUNNING_ENDS, Subscription, Subscription.id, rows)


def recover(db: ScopedSession, subscription_id: str) -> None:
    """Close the dunning of a hold that is over because it was paid or the subscription ended."""
    subscription = lock_subscription(db, subscription_id)
    if subscription is None:
        return
    unclosed = select(SentNotice).where(
        SentNotice.purpose == "dunning", SentNotice.noun_id == subscription.id, SentNotice.closed_at.is_(None)
    )
    rows = [
        row for row in db.scalars(unclosed.with_for_update()) if subscription.status != "on_hold" or row.for_at != subscription.on_hold_at
    ]
    for row in rows:
        row.closed_at = clock.now()
    if rows and subscription.status not in ENDED:
        emit_about(db, subscription, "dunning.recovered", on_hold_at=max(row.for_at for row in rows).isoformat())
