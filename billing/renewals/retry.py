"""Retry unpaid renewals and end grace periods, for businesses that enabled them (contract §5.1, §5.8)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import and_, func, select

from billing.charging import activation
from billing.charging.payment_processor import PaymentProcessor
from billing.model import job_names, policy
from billing.model.invoices import Invoice
from billing.model.lifecycle import UNPAID_STATES
from billing.model.parties import Business
from billing.model.payment_accounts import is_chargeable, takes_charges
from billing.model.payments import Payment, PaymentMethod
from billing.model.sent_notices import SentNotice, record_once
from billing.model.subscriptions import Subscription
from billing.renewals import renew
from billing.subscriptions.cancel import end
from core import clock, recurring_jobs
from core.db import ScopedSession
from core.recurring_jobs import Row
from core.scope import everything, system

BATCH = 50
HARD = frozenset({"EXPIRED_CARD", "INCORRECT_CVC", "STOLEN_CARD", "LOST_CARD", "MANDATE_INVALID", "AUTHENTICATION_REQUIRED"})
"""Declines after which a retry of the same card cannot succeed, because the customer has to act."""


def run_due(processor: PaymentProcessor) -> int:
    """Run the retries that are due, then end the grace periods that are over. Returns the number of subscriptions handled.

    Leaves out businesses without an open payment account, which nobody can pay.
    """
    with processor.database.open(everything("businesses with unpaid subscriptions")) as db:
        unpaid = select(Subscription.id).where(
            Subscription.business_id == Business.business_id, Subscription.status.in_(UNPAID_STATES), Subscription.collected_by == "us"
        )
        businesses = list(db.scalars(select(Business).where(unpaid.exists(), Business.archived_at.is_(None), takes_charges(db, Business))))
    due: dict[str, list[list[Row]]] = {job_names.RETRIES: [], job_names.GRACE_ENDS: []}
    for business in businesses:
        schedule = [timedelta(hours=float(hours)) for hours in policy.setting(business, "retry_schedule_hours")]
        ids = {
            job_names.RETRIES: _to_retry(processor, business, schedule) if schedule else [],
            job_names.GRACE_ENDS: _out_of_grace(processor, business),
        }
        for job, found in ids.items():
            due[job].append([(business.business_id, subscription_id) for subscription_id in found])
    by_id = {business.business_id: business for business in businesses}
    return sum(
        recurring_jobs.run(processor.database, job, list(recurring_jobs.alternate(due[job]))[:BATCH], partial(_act, act, processor, by_id))
        for job, act in ((job_names.RETRIES, _retry), (job_names.GRACE_ENDS, _end_grace))
    )


def _act(
    act: Callable[[PaymentProcessor, Business, str], None],
    processor: PaymentProcessor,
    businesses: dict[str, Business],
    business_id: str,
    subscription_id: str,
) -> None:
    act(processor, businesses[business_id], subscription_id)


def _to_retry(processor: PaymentProcessor, business: Business, schedule: list[timedelta]) -> list[str]:
    """Ids of unpaid subscriptions whose next retry is due. Retries follow soft declines only, timed from the invoice's last payment."""
    same = Subscription.business_id
    with processor.database.open(system(business.business_id)) as db:
        rows = db.execute(
            select(
                Subscription.id,
                Subscription.payment_method_id,
                Invoice.id,
                Payment.status,
                Payment.error_code,
                Payment.payment_method_id,
                Payment.updated_at,
            )
            .join(Invoice, and_(Invoice.business_id == same, Invoice.subscription_id == Subscription.id, Invoice.status == "open"))
            .join(
                PaymentMethod, and_(PaymentMethod.business_id == same, PaymentMethod.id == Subscription.payment_method_id, is_chargeable())
            )
            .join(Payment, and_(Payment.business_id == same, Payment.invoice_id == Invoice.id))
            .where(
                Subscription.status.in_(UNPAID_STATES),
                Subscription.collected_by == "us",
                Subscription.cancel_at_period_end.is_(False),
                recurring_jobs.rested(job_names.RETRIES, same, Subscription.id),
                Subscription.on_hold_at > clock.now() - sum(schedule, timedelta(days=31)),
            )
            .order_by(Payment.attempt)
        ).all()
        made: dict[str, int] = (
            dict(
                db.execute(
                    select(SentNotice.noun_id, func.count())
                    .where(SentNotice.purpose == "retry", SentNotice.noun_id.in_({row[2] for row in rows}))
                    .group_by(SentNotice.noun_id)
                )
                .tuples()
                .all()
            )
            if rows
            else {}
        )
    histories: dict[str, list[Any]] = {}
    for row in rows:
        histories.setdefault(row[0], []).append(row)
    return [subscription_id for subscription_id, history in histories.items() if _is_due(history, made.get(history[0][2], 0), schedule)]


def _is_due(history: list[Any], made: int, schedule: list[timedelta]) -> bool:
    *_, method_id, _invoice, _status, _code, _method, last_at = history[-1]
    if made >= len(schedule) or any(status not in ("failed", "cancelled") for *_, status, _code, _method, _at in history):
        return False
    codes = [code for *_, status, code, used, _at in history if status == "failed" and used == method_id]
    return (not codes or codes[-1] not in HARD) and last_at + schedule[made] <= clock.now()


@dataclass(frozen=True)
class RetrySchedule:
    """Automatic retries of an unpaid invoice. `next_at`: when the next one is due, None after the last."""

    made: int
    total: int
    next_at: datetime | None


def planned(db: ScopedSession, subscription_id: str, invoice_id: str) -> RetrySchedule | None:
    """The retry schedule of an invoice. None without a schedule of the business, or with external billing. Reads only."""
    business = db.scalar(select(Business))
    subscription = db.scalar(select(Subscription).where(Subscription.id == subscription_id))
    schedule = [timedelta(hours=float(hours)) for hours in policy.setting(business, "retry_schedule_hours")] if business else []
    if subscription is None or not schedule or subscription.collected_by != "us":
        return None
    made = (
        db.scalar(select(func.count()).select_from(SentNotice).where(SentNotice.purpose == "retry", SentNotice.noun_id == invoice_id)) or 0
    )
    tried = list(db.scalars(select(Payment).where(Payment.invoice_id == invoice_id).order_by(Payment.attempt)))
    codes = [row.error_code for row in tried if row.status == "failed" and row.payment_method_id == subscription.payment_method_id]
    chargeable = select(PaymentMethod.id).where(PaymentMethod.id == subscription.payment_method_id, is_chargeable())
    is_over = (
        made >= len(schedule)
        or subscription.status not in UNPAID_STATES
        or subscription.cancel_at_period_end
        or db.scalar(chargeable.where(takes_charges(db, PaymentMethod))) is None
        or not tried
        or any(row.status not in ("failed", "cancelled") for row in tried)
        or bool(codes and codes[-1] in HARD)
    )
    return RetrySchedule(made, len(schedule), None if is_over else tried[-1].updated_at + schedule[made])


def _retry(processor: PaymentProcessor, business: Business, subscription_id: str) -> None:
    business_id = business.business_id
    with processor.database.open(system(business_id), write=True) as db:
        subscription = _lock_unpaid(db, subscription_id)
        invoice = db.scalar(select(Invoice).where(Invoice.subscription_id == subscription_id, Invoice.status == "open").limit(1))
        if subscription is None or invoice is None or subscription.payment_method_id is None:
            return
        method = db.scalar(select(PaymentMethod).where(PaymentMethod.id == subscription.payment_method_id, is_chargeable()))
        made = (
            db.scalar(select(func.count()).select_from(SentNotice).where(SentNotice.purpose == "retry", SentNotice.noun_id == invoice.id))
            or 0
        )
        if method is None or not record_once(db, (business_id, subscription.customer_id), "retry", invoice.id, invoice.issued_at, made + 1):
            return
        payment_id = renew.attempt(processor, db, invoice, subscription, method, off_session=True).id
    processor.start(business_id, payment_id)


def _out_of_grace(processor: PaymentProcessor, business: Business, limit: int = 50) -> list[str]:
    with processor.database.open(system(business.business_id)) as db:
        return list(
            db.scalars(
                select(Subscription.id)
                .where(
                    Subscription.status == "past_due",
                    Subscription.collected_by == "us",
                    Subscription.on_hold_at <= _grace_began_before(business),
                    recurring_jobs.rested(job_names.GRACE_ENDS, Subscription.business_id, Subscription.id),
                )
                .order_by(Subscription.on_hold_at)
                .limit(limit)
            )
        )


def _end_grace(processor: PaymentProcessor, business: Business, subscription_id: str) -> None:
    """Put the subscription on hold, or cancel it and void its invoice, as the business has set."""
    with processor.database.open(system(business.business_id), write=True) as db:
        subscription = _lock_unpaid(db, subscription_id)
        if subscription is None or subscription.status != "past_due":
            return
        if policy.setting(business, "grace_action") != "cancel":
            activation.put_on_hold(db, subscription)
            return
        end(db, subscription)


def _grace_began_before(business: Business) -> datetime:
    return clock.now() - timedelta(days=float(policy.setting(business, "grace_days")))


def _lock_unpaid(db: ScopedSession, subscription_id: str) -> Subscription | None:
    """Lock and return an unpaid subscription without an open payment, else None."""
    subscription = db.scalar(select(Subscription).where(Subscription.id == subscription_id).with_for_update())
    if subscription is None or subscription.status not in UNPAID_STATES:
        return None
    under_way = db.scalar(select(Payment.id).where(Payment.subscription_id == subscription.id, Payment.is_open).limit(1))
    return None if under_way else subscription
