"""Notices ahead of a charge: before a trial's first charge and a long renewal, and before a card in use expires.

Renewals of a year or longer are announced at least seven days ahead. Idempotent; renewals follow the billing clock.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, or_, select

from billing.model import job_names, policy
from billing.model.catalogue import Product
from billing.model.events import emit_about
from billing.model.lifecycle import LIVE
from billing.model.parties import Business
from billing.model.payment_accounts import is_chargeable, takes_charges
from billing.model.payments import PaymentMethod
from billing.model.quotes import ScheduledChange
from billing.model.sent_notices import SentNotice, record_once
from billing.model.subscriptions import Subscription
from billing.pricing import prices
from billing.renewals.due_notices import IS_TRADING, lock_subscription, select_due
from billing.subscriptions import queries as subscription_queries
from core import clock
from core.db import ScopedSession
from core.recurring_jobs import Row

BEFORE_RENEWAL = timedelta(days=8)  # the email promises seven days; one day is spare for sending it
BEFORE_EXPIRY = timedelta(days=30)


def _is_long(table: Any) -> ColumnElement[bool]:
    """A period of a year or longer."""
    return or_(
        table.interval == "Year",
        and_(table.interval == "Month", table.interval_count >= 12),
        and_(table.interval == "Week", table.interval_count >= 52),
        and_(table.interval == "Day", table.interval_count >= 365),
    )


HAS_LONG_PLAN_SCHEDULED = exists().where(
    ScheduledChange.business_id == Subscription.business_id,
    ScheduledChange.subscription_id == Subscription.id,
    ScheduledChange.cancelled_at.is_(None),
    ScheduledChange.applied_at.is_(None),
    Product.business_id == ScheduledChange.business_id,
    Product.id == ScheduledChange.product_id,
    _is_long(Product),
)
IN_TRIAL = and_(Subscription.trial_ends_at.is_not(None), Subscription.period_n == 0)
IS_ANNOUNCED = or_(_is_long(Subscription), IN_TRIAL, HAS_LONG_PLAN_SCHEDULED)


def renewals_to_announce(db: ScopedSession) -> list[Row]:
    """Subscriptions whose next renewal is to be announced now."""
    at = clock.now()
    noticed = select(SentNotice.id).where(
        SentNotice.business_id == Subscription.business_id,
        SentNotice.noun_id == Subscription.id,
        SentNotice.purpose == "renewal",
        SentNotice.for_at == Subscription.next_billing_at,
    )
    return select_due(
        db,
        job_names.RENEWAL_NOTICES,
        Subscription,
        Subscription.next_billing_at,
        (
            select(Subscription.business_id, Subscription.id).where(
                Subscription.status == "active",
                Subscription.collected_by == "us",
                Subscription.cancel_at_period_end.is_(False),
                IS_ANNOUNCED,
                IS_TRADING,
                takes_charges(db, Subscription),
                or_(Subscription.expires_at.is_(None), Subscription.next_billing_at < Subscription.expires_at),
                Subscription.next_billing_at > at,
                Subscription.next_billing_at <= at + BEFORE_RENEWAL,
                ~noticed.exists(),
            )
        ),
    )


def remind_renewal(db: ScopedSession, subscription_id: str) -> None:
    """Announce the next renewal, once per billing date."""
    subscription = lock_subscription(db, subscription_id)
    if subscription is None or subscription.status != "active" or subscription.next_billing_at is None or subscription.cancel_at_period_end:
        return
    business = db.scalar(select(Business).where(Business.business_id == subscription.business_id))
    assert business is not None
    if record_once(db, (subscription.business_id, subscription.customer_id), "renewal", subscription.id, subscription.next_billing_at):
        emit_about(
            db,
            subscription,
            "subscription.renewal_reminder",
            next_billing_at=subscription.next_billing_at.isoformat(),
            amount=next_amount(db, subscription),
            currency=subscription.currency,
            product=subscription_queries.get_subscription(db, subscription.id).coming().name,
            trial=subscription.is_trial,
            may_cancel=policy.allows_cancelling(business, subscription),
        )


def next_amount(db: ScopedSession, subscription: Subscription) -> int:
    """The amount the renewal will charge, in minor units: priced like its invoice, less credit, plus what was carried over."""
    business = db.scalar(select(Business).where(Business.business_id == subscription.business_id))
    coming = subscription_queries.get_subscription(db, subscription.id).coming()  # a scheduled plan change is applied first
    assert business is not None and coming.next_billing_at is not None
    total = prices.total(prices.for_period(business, coming, coming.product, coming.next_billing_at, coming.next_billing_at))
    return total - min(coming.credit_minor, total)


def expiring_cards(db: ScopedSession) -> list[Row]:
    """Cards in use that expire within `BEFORE_EXPIRY` and were not announced yet."""
    at = clock.now()
    uses = select(Subscription.id).where(
        Subscription.business_id == PaymentMethod.business_id,
        Subscription.payment_method_id == PaymentMethod.id,
        Subscription.status.in_(LIVE),
        Subscription.collected_by == "us",
        Subscription.cancel_at_period_end.is_(False),
    )
    out: list[Row] = []
    for year, month in {(moment.year, moment.month) for moment in (at, at + BEFORE_EXPIRY)}:
        end = month_end(year, month)
        if not end - BEFORE_EXPIRY <= at < end:
            continue
        noticed = select(SentNotice.id).where(
            SentNotice.business_id == PaymentMethod.business_id,
            SentNotice.noun_id == PaymentMethod.id,
            SentNotice.purpose == "expiring",
            SentNotice.for_at == end,
        )
        out += select_due(
            db,
            job_names.EXPIRY_NOTICES,
            PaymentMethod,
            PaymentMethod.id,
            (
                select(PaymentMethod.business_id, PaymentMethod.id).where(
                    PaymentMethod.expiry_year == year,
                    PaymentMethod.expiry_month == month,
                    PaymentMethod.removed_at.is_(None),
                    uses.exists(),
                    takes_charges(db, PaymentMethod),
                    is_chargeable(),
                    ~noticed.exists(),
                )
            ),
        )
    return out


def remind_expiry(db: ScopedSession, payment_method_id: str) -> None:
    """Announce that the card expires, once per expiry month."""
    card = db.scalar(select(PaymentMethod).where(PaymentMethod.id == payment_method_id).with_for_update())
    if card is None or card.removed_at is not None or card.expiry_year is None or card.expiry_month is None:
        return
    owner, end = (card.business_id, card.customer_id), month_end(card.expiry_year, card.expiry_month)
    if record_once(db, owner, "expiring", card.id, end):
        ids = list(db.scalars(select(Subscription.id).where(Subscription.payment_method_id == card.id, Subscription.status.in_(LIVE))))
        emit_about(
            db, card, "payment_method.expiring", brand=card.brand, last4=card.last4, expires_at=end.isoformat(), subscription_ids=ids
        )


def month_end(year: int, month: int) -> datetime:
    """The start of the next month (UTC): a card is valid until its month ends."""
    return datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
