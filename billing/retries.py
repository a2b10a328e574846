"""Trying an unpaid renewal again, and the end of a grace period: both only where a business asked for it (contract §5.1, §5.8)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import and_, func, select

from billing import activation, policy, renewals
from billing.commands.cancelling import end
from billing.invoices import Invoice
from billing.parties import Business
from billing.payments import Payment, PaymentMethod
from billing.reminders import Reminder, once
from billing.subscriptions import Subscription
from billing.till import Till
from core import clock, turns
from core.db import ScopedSession
from core.scope import everything, system
from core.turns import Row

BATCH = 50
HARD = frozenset({"EXPIRED_CARD", "INCORRECT_CVC", "STOLEN_CARD", "LOST_CARD", "MANDATE_INVALID", "AUTHENTICATION_REQUIRED"})
"""Trying the same card again would not help: the customer has to do something."""
UNPAID = ("on_hold", "past_due")


def run_due(till: Till) -> int:
    """Tries that are due, then grace periods that are over. Returns how many subscriptions were acted on."""
    with till.database.open(everything("businesses with unpaid subscriptions")) as db:
        unpaid = select(Subscription.id).where(Subscription.business_id == Business.business_id, Subscription.status.in_(UNPAID),
                                               Subscription.collected_by == "us")
        businesses = list(db.scalars(select(Business).where(unpaid.exists(), Business.archived_at.is_(None))))
    due: dict[str, list[list[Row]]] = {"retry": [], "end_grace": []}
    for business in businesses:
        schedule = [timedelta(hours=float(hours)) for hours in policy.setting(business, "retry_schedule_hours")]
        ids = {"retry": _to_retry(till, business, schedule) if schedule else [], "end_grace": _out_of_grace(till, business)}
        for job, found in ids.items():
            due[job].append([(business.business_id, one) for one in found])
    by_id = {business.business_id: business for business in businesses}
    return sum(turns.run(till.database, job, list(turns.alternate(due[job]))[:BATCH], partial(_act, act, till, by_id))
               for job, act in (("retry", _retry), ("end_grace", _end_grace)))


def _act(act: Callable[[Till, Business, str], None], till: Till, businesses: dict[str, Business], business_id: str, one: str) -> None:
    act(till, businesses[business_id], one)


def _to_retry(till: Till, business: Business, schedule: list[timedelta]) -> list[str]:
    """Ids of the unpaid whose next try is due: so long after the last payment of their invoice, after a soft decline only."""
    same = Subscription.business_id
    with till.database.open(system(business.business_id)) as db:
        rows = db.execute(
            select(Subscription.id, Subscription.payment_method_id, Invoice.id, Payment.status, Payment.error_code,
                   Payment.payment_method_id, Payment.updated_at)
            .join(Invoice, and_(Invoice.business_id == same, Invoice.subscription_id == Subscription.id, Invoice.status == "open"))
            .join(PaymentMethod, and_(PaymentMethod.business_id == same, PaymentMethod.id == Subscription.payment_method_id,
                                      PaymentMethod.removed_at.is_(None)))
            .join(Payment, and_(Payment.business_id == same, Payment.invoice_id == Invoice.id))
            .where(Subscription.status.in_(UNPAID), Subscription.collected_by == "us", Subscription.cancel_at_period_end.is_(False),
                   turns.rested("retry", same, Subscription.id), Subscription.on_hold_at > clock.now() - sum(schedule, timedelta(days=31)))
            .order_by(Payment.attempt)
        ).all()
        made: dict[str, int] = dict(db.execute(  # type: ignore[arg-type]
            select(Reminder.noun_id, func.count()).where(Reminder.purpose == "retry", Reminder.noun_id.in_({row[2] for row in rows}))
            .group_by(Reminder.noun_id)
        ).tuples().all()) if rows else {}
    histories: dict[str, list[Any]] = {}
    for row in rows:
        histories.setdefault(row[0], []).append(row)
    return [one for one, history in histories.items() if _is_due(history, made.get(history[0][2], 0), schedule)]


def _is_due(history: list[Any], made: int, schedule: list[timedelta]) -> bool:
    *_, method_id, _invoice, _status, _code, _method, last_at = history[-1]
    if made >= len(schedule) or any(status not in ("failed", "cancelled") for *_, status, _code, _method, _at in history):
        return False
    codes = [code for *_, status, code, used, _at in history if status == "failed" and used == method_id]
    return (not codes or codes[-1] not in HARD) and last_at + schedule[made] <= clock.now()


@dataclass(frozen=True)
class Planned:
    """Automatic tries of an unpaid invoice: how many were made, of how many, and when the next is due (None: no more)."""

    made: int
    total: int
    next_at: datetime | None


def planned(db: ScopedSession, subscription_id: str, invoice_id: str) -> Planned | None:
    """None where the business has no schedule, or another system collects. Reads only."""
    business = db.scalar(select(Business))
    one = db.scalar(select(Subscription).where(Subscription.id == subscription_id))
    schedule = [timedelta(hours=float(hours)) for hours in policy.setting(business, "retry_schedule_hours")] if business else []
    if one is None or not schedule or one.collected_by != "us":
        return None
    made = db.scalar(select(func.count()).select_from(Reminder).where(Reminder.purpose == "retry", Reminder.noun_id == invoice_id)) or 0
    tried = list(db.scalars(select(Payment).where(Payment.invoice_id == invoice_id).order_by(Payment.attempt)))
    codes = [row.error_code for row in tried if row.status == "failed" and row.payment_method_id == one.payment_method_id]
    over = (made >= len(schedule) or one.status not in UNPAID or one.cancel_at_period_end or one.payment_method_id is None or not tried
            or any(row.status not in ("failed", "cancelled") for row in tried) or bool(codes and codes[-1] in HARD))
    return Planned(made, len(schedule), None if over else tried[-1].updated_at + schedule[made])


def _retry(till: Till, business: Business, subscription_id: str) -> None:
    business_id = business.business_id
    with till.database.open(system(business_id), write=True) as db:
        one = _free(db, subscription_id)
        invoice = db.scalar(select(Invoice).where(Invoice.subscription_id == subscription_id, Invoice.status == "open").limit(1))
        if one is None or invoice is None or one.payment_method_id is None:
            return
        method = db.scalar(select(PaymentMethod).where(PaymentMethod.id == one.payment_method_id, PaymentMethod.removed_at.is_(None)))
        made = db.scalar(select(func.count()).select_from(Reminder).where(Reminder.purpose == "retry", Reminder.noun_id == invoice.id)) or 0
        if method is None or not once(db, (business_id, one.customer_id), "retry", invoice.id, invoice.issued_at, made + 1):
            return
        payment_id = renewals.attempt(till, db, invoice, one, method, off_session=True).id
    till.start(business_id, payment_id)


def _out_of_grace(till: Till, business: Business, limit: int = 50) -> list[str]:
    with till.database.open(system(business.business_id)) as db:
        return list(db.scalars(
            select(Subscription.id).where(Subscription.status == "past_due", Subscription.collected_by == "us",
                                          Subscription.on_hold_at <= _grace_began_before(business),
                                          turns.rested("end_grace", Subscription.business_id, Subscription.id))
            .order_by(Subscription.on_hold_at).limit(limit)
        ))


def _end_grace(till: Till, business: Business, subscription_id: str) -> None:
    """On hold, or cancelled with its invoice void: what was never paid for is not owed."""
    with till.database.open(system(business.business_id), write=True) as db:
        one = _free(db, subscription_id)
        if one is None or one.status != "past_due":
            return
        if policy.setting(business, "grace_action") != "cancel":
            activation.hold(db, one)
            return
        end(db, one)


def _grace_began_before(business: Business) -> datetime:
    return clock.now() - timedelta(days=float(policy.setting(business, "grace_days")))


def _free(db: ScopedSession, subscription_id: str) -> Subscription | None:
    """An unpaid subscription, locked, with no payment under way."""
    one = db.scalar(select(Subscription).where(Subscription.id == subscription_id).with_for_update())
    if one is None or one.status not in UNPAID:
        return None
    under_way = db.scalar(select(Payment.id).where(Payment.subscription_id == one.id, Payment.is_open).limit(1))
    return None if under_way else one
