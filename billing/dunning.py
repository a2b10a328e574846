"""What follows an unpaid renewal, and what is said before one: run by the worker, idempotent, by the billing clock.

* reminders: before a trial's first charge and before renewals of a year or longer, at least seven days ahead; before a card in use runs out
* dunning: 1, 3, 5 and 7 days after a subscription went on hold; `dunning.recovered` when it was paid
* tries again after soft declines, and the end of a grace period: `retries.py`, off unless a business asks for them
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, or_, select

from billing import policy, pricing, retries
from billing.catalogue import Product
from billing.invoices import Invoice
from billing.lifecycle import LIVE
from billing.parties import Business
from billing.payments import PaymentMethod
from billing.queries import subscriptions
from billing.quotes import ScheduledChange
from billing.reminders import Reminder, once
from billing.subscriptions import Subscription
from billing.till import Till
from core import clock, turns
from core.db import ScopedSession
from core.outbox import emit
from core.scope import everything, system
from core.turns import Row

BATCH = 50
BEFORE_RENEWAL = timedelta(days=8)  # one day to spare: the email is written when this begins, and promises seven
BEFORE_EXPIRY = timedelta(days=30)
DUNNING_DAYS = (1, 3, 5, 7)

def _is_long(of: Any) -> ColumnElement[bool]:
    """A period of a year or longer."""
    return or_(of.interval == "Year", and_(of.interval == "Month", of.interval_count >= 12),
               and_(of.interval == "Week", of.interval_count >= 52), and_(of.interval == "Day", of.interval_count >= 365))


PLANNED_LONG = exists().where(
    ScheduledChange.business_id == Subscription.business_id, ScheduledChange.subscription_id == Subscription.id,
    ScheduledChange.cancelled_at.is_(None), ScheduledChange.applied_at.is_(None), Product.business_id == ScheduledChange.business_id,
    Product.id == ScheduledChange.product_id, _is_long(Product))
IN_TRIAL = and_(Subscription.trial_ends_at.is_not(None), Subscription.period_n == 0)
ANNOUNCED = or_(_is_long(Subscription), IN_TRIAL, PLANNED_LONG)
TRADES = select(Business.business_id).where(Business.business_id == Subscription.business_id, Business.archived_at.is_(None)).exists()
"""What a business that closed is owed, nobody is asked for: it takes no payments."""


def run_due(till: Till) -> int:
    """Everything that is due now, in small batches. Returns how many rows were looked at."""
    return sum((
        _each(till, _renewing, remind_renewal), _each(till, _expiring, remind_expiry), _each(till, _held, dun),
        _each(till, _over, recover), retries.run_due(till),
    ))


def _each(till: Till, due: Callable[[ScopedSession], list[Row]], act: Callable[[ScopedSession, str], None]) -> int:
    """Businesses take turns, and a row that fails backs off (core/turns.py). The job's name is that of `act`."""
    with till.database.open(everything("reminders and dunning due")) as db:
        rows = due(db)

    def do(business_id: str, one: str) -> None:
        with till.database.open(system(business_id), write=True) as db:
            act(db, one)

    return turns.run(till.database, act.__name__, rows, do)


# --- before a trial's first charge, and before a long renewal
def _renewing(db: ScopedSession) -> list[Row]:
    at = clock.now()
    said = select(Reminder.id).where(
        Reminder.business_id == Subscription.business_id, Reminder.noun_id == Subscription.id, Reminder.purpose == "renewal",
        Reminder.for_at == Subscription.next_billing_at,
    )
    return _rows(db, "remind_renewal", Subscription, Subscription.next_billing_at, (
        select(Subscription.business_id, Subscription.id)
        .where(Subscription.status == "active", Subscription.collected_by == "us", Subscription.cancel_at_period_end.is_(False), ANNOUNCED,
               TRADES, or_(Subscription.expires_at.is_(None), Subscription.next_billing_at < Subscription.expires_at),
               Subscription.next_billing_at > at, Subscription.next_billing_at <= at + BEFORE_RENEWAL, ~said.exists())))


def remind_renewal(db: ScopedSession, subscription_id: str) -> None:
    one = _lock(db, subscription_id)
    if one is None or one.status != "active" or one.next_billing_at is None or one.cancel_at_period_end:
        return
    business = db.scalar(select(Business).where(Business.business_id == one.business_id))
    assert business is not None
    if once(db, (one.business_id, one.customer_id), "renewal", one.id, one.next_billing_at):
        _tell(db, one, "subscription.renewal_reminder", next_billing_at=one.next_billing_at.isoformat(),
              amount=_next_amount(db, one), currency=one.currency,
              product=subscriptions.one(db, one.id).coming().name, trial=one.is_trial,
              may_cancel=policy.allows(business, "cancel"))


def _next_amount(db: ScopedSession, one: Subscription) -> int:
    """What the renewal will ask for, by the function that makes its invoice, less the credit it will use; and what was carried over."""
    business = db.scalar(select(Business).where(Business.business_id == one.business_id))
    coming = subscriptions.one(db, one.id).coming()  # a change of plan that waits for this date is made first
    assert business is not None and coming.next_billing_at is not None
    product = SimpleNamespace(id=coming.product_id, name=coming.name, tax_category=coming.tax_category)
    total = pricing.total(pricing.for_period(business, coming, product, coming.next_billing_at, coming.next_billing_at))  # type: ignore[arg-type]
    return total - min(coming.credit_minor, total)


# --- before a card runs out
def _expiring(db: ScopedSession) -> list[Row]:
    at = clock.now()
    uses = select(Subscription.id).where(
        Subscription.business_id == PaymentMethod.business_id, Subscription.payment_method_id == PaymentMethod.id,
        Subscription.status.in_(LIVE), Subscription.collected_by == "us", Subscription.cancel_at_period_end.is_(False),
    )
    out: list[Row] = []
    for year, month in {(moment.year, moment.month) for moment in (at, at + BEFORE_EXPIRY)}:
        end = month_end(year, month)
        if not end - BEFORE_EXPIRY <= at < end:
            continue
        said = select(Reminder.id).where(
            Reminder.business_id == PaymentMethod.business_id, Reminder.noun_id == PaymentMethod.id, Reminder.purpose == "expiring",
            Reminder.for_at == end,
        )
        out += _rows(db, "remind_expiry", PaymentMethod, PaymentMethod.id, (
            select(PaymentMethod.business_id, PaymentMethod.id)
            .where(PaymentMethod.expiry_year == year, PaymentMethod.expiry_month == month, PaymentMethod.removed_at.is_(None),
                   uses.exists(), ~said.exists())))
    return out


def remind_expiry(db: ScopedSession, payment_method_id: str) -> None:
    card = db.scalar(select(PaymentMethod).where(PaymentMethod.id == payment_method_id).with_for_update())
    if card is None or card.removed_at is not None or card.expiry_year is None or card.expiry_month is None:
        return
    owner, end = (card.business_id, card.customer_id), month_end(card.expiry_year, card.expiry_month)
    if once(db, owner, "expiring", card.id, end):
        ids = list(db.scalars(select(Subscription.id).where(Subscription.payment_method_id == card.id, Subscription.status.in_(LIVE))))
        emit(db, "payment_method.expiring", business_id=owner[0], customer_id=owner[1], noun=card.id,
             data={"brand": card.brand, "last4": card.last4, "expires_at": end.isoformat(), "subscription_ids": ids})


def month_end(year: int, month: int) -> datetime:
    """A card is good until its month ends."""
    return datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)


# --- after a hold
def _held(db: ScopedSession) -> list[Row]:
    at, out = clock.now(), []
    for step, days in reversed(list(enumerate(DUNNING_DAYS, 1))):
        said = select(Reminder.id).where(
            Reminder.business_id == Subscription.business_id, Reminder.noun_id == Subscription.id, Reminder.purpose == "dunning",
            Reminder.for_at == Subscription.on_hold_at, Reminder.step >= step,
        )
        out += _rows(db, "dun", Subscription, Subscription.on_hold_at, (
            select(Subscription.business_id, Subscription.id)
            .where(Subscription.status == "on_hold", Subscription.collected_by == "us", Subscription.cancel_at_period_end.is_(False),
                   TRADES, Subscription.on_hold_at <= at - timedelta(days=days), ~said.exists())))
    return list(dict.fromkeys(out))


def dun(db: ScopedSession, subscription_id: str) -> None:
    """The newest step that is due; steps missed in downtime are not said one after the other."""
    one = _lock(db, subscription_id)
    if one is None or one.status != "on_hold" or one.on_hold_at is None:
        return
    step = sum(clock.now() >= one.on_hold_at + timedelta(days=days) for days in DUNNING_DAYS)
    mine = (Reminder.purpose == "dunning", Reminder.noun_id == one.id, Reminder.for_at == one.on_hold_at)
    begun = db.scalar(select(Reminder.id).where(*mine).limit(1))
    if step and once(db, (one.business_id, one.customer_id), "dunning", one.id, one.on_hold_at, step):
        owed = select(Invoice.due_minor).where(Invoice.subscription_id == one.id, Invoice.status == "open").order_by(Invoice.issued_at)
        _tell(db, one, "dunning.reminder" if begun else "dunning.started", step=step, steps=len(DUNNING_DAYS),
              on_hold_at=one.on_hold_at.isoformat(), amount=db.scalar(owed.limit(1)), currency=one.currency)


def _over(db: ScopedSession) -> list[Row]:
    said = select(Reminder.id).where(
        Reminder.business_id == Subscription.business_id, Reminder.noun_id == Subscription.id, Reminder.purpose == "dunning",
        Reminder.closed_at.is_(None), or_(Subscription.status != "on_hold", Subscription.on_hold_at != Reminder.for_at))
    return _rows(db, "recover", Subscription, Subscription.id, select(Subscription.business_id, Subscription.id).where(said.exists()))


def recover(db: ScopedSession, subscription_id: str) -> None:
    """The hold that was dunned for is over: paid, or ended."""
    one = _lock(db, subscription_id)
    if one is None:
        return
    held = select(Reminder).where(Reminder.purpose == "dunning", Reminder.noun_id == one.id, Reminder.closed_at.is_(None))
    rows = [row for row in db.scalars(held.with_for_update()) if one.status != "on_hold" or row.for_at != one.on_hold_at]
    for row in rows:
        row.closed_at = clock.now()
    if rows and one.status not in ("cancelled", "expired", "failed"):
        _tell(db, one, "dunning.recovered", on_hold_at=max(row.for_at for row in rows).isoformat())


def _lock(db: ScopedSession, subscription_id: str) -> Subscription | None:
    return db.scalar(select(Subscription).where(Subscription.id == subscription_id).with_for_update())


def _rows(db: ScopedSession, job: str, table: Any, order: Any, query: Select[Any, Any]) -> list[Row]:
    query = query.where(turns.rested(job, table.business_id, table.id))
    found = db.execute(turns.in_turns(query, table.business_id, order, table.id, limit=BATCH))
    return [(business_id, one) for business_id, one in found]


def _tell(db: ScopedSession, one: Subscription, type: str, **data: object) -> None:
    emit(db, type, business_id=one.business_id, customer_id=one.customer_id, noun=one.id, data=data)
