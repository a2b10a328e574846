"""Notices ahead of a charge: before a trial's first charge and before a renewal, and before a card in use expires.

When they are sent, and whether they may be switched off, is in `billing/rights/table.toml`. Idempotent; follows the billing clock.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from billing.model import job_names, optional_notices, policy
from billing.model.events import emit_about
from billing.model.lifecycle import LIVE
from billing.model.parties import Business, Customer
from billing.model.payment_accounts import is_chargeable, takes_charges
from billing.model.payments import PaymentMethod
from billing.model.sent_notices import SentNotice, record_once
from billing.model.subscriptions import Subscription
from billing.pricing import prices
from billing.renewals import notice_plan
from billing.renewals.due_notices import IS_TRADING, lock_subscription, select_due
from billing.rights.places import place_of
from billing.rights.table import Occasion
from billing.subscriptions import queries as subscription_queries
from core import clock
from core.db import ScopedSession
from core.recurring_jobs import Row

BEFORE_EXPIRY = timedelta(days=30)
LISTED = 10
"""How many subscriptions the email about an expiring card lists."""


def renewals_to_announce(db: ScopedSession) -> list[Row]:
    """Subscriptions whose next charge is to be announced now."""
    at = clock.now()
    return select_due(
        db,
        job_names.RENEWAL_NOTICES,
        Subscription,
        Subscription.notice_at,
        select(Subscription.business_id, Subscription.id).where(
            Subscription.notice_at <= at,
            Subscription.status == "active",
            Subscription.collected_by == "us",
            Subscription.cancel_at_period_end.is_(False),
            Subscription.next_billing_at > at,
            IS_TRADING,
            takes_charges(db, Subscription),
        ),
    )


def remind_renewal(db: ScopedSession, subscription_id: str) -> None:
    """Announce the next charge, once per billing date, unless the reminder is switched off. What the law demands is always sent."""
    subscription = lock_subscription(db, subscription_id)
    if subscription is None:
        return
    notice = notice_plan.upcoming(db, subscription)
    if notice is not None and notice.at is not None and notice.at > clock.now():  # it was planned for a date that has changed
        notice_plan.store(db, subscription, notice.at)
        return
    if notice is not None and notice.at is not None and (notice.rule.demanded or _is_wanted(db, subscription, notice.occasion)):
        announce(db, subscription, notice)
    notice_plan.store(db, subscription, None)


def announce(db: ScopedSession, subscription: Subscription, notice: notice_plan.Upcoming) -> None:
    """Record the notice and write the event that sends it. The second call for a billing date does nothing."""
    business, coming = _business(db, subscription), subscription_queries.get_subscription(db, subscription.id).coming()
    if record_once(db, (subscription.business_id, subscription.customer_id), "renewal", subscription.id, notice.charge_at):
        emit_about(
            db,
            subscription,
            "subscription.renewal_reminder",
            next_billing_at=notice.charge_at.isoformat(),
            amount=next_amount(db, subscription),
            currency=subscription.currency,
            product=coming.name,
            interval=coming.interval,
            interval_count=coming.interval_count,
            trial=subscription.is_trial,
            may_cancel=policy.allows_cancelling(business, subscription),
            place=place_of(subscription.billing),
            demanded=notice.rule.demanded,
            cancel_by="cancel_by" in notice.rule.content,
        )


def may_charge(db: ScopedSession, subscription: Subscription) -> bool:
    """Return whether a renewal that is due may be charged now. False: the notice that the law demands was late, and the charge waits.

    The rule for late notices: nobody is charged without the notice that the law demands, and nobody loses access because the portal was
    late. A notice that was not sent, because the worker did not run or because the date was moved, is sent at once. The charge then waits
    until the shortest notice has passed (`charge_from`). The period keeps its dates.
    """
    notice = notice_plan.upcoming(db, subscription)
    if notice is None or notice.at is None or not notice.rule.demanded or notice.rule.every != "charge":
        return True
    announced = notice_plan.announced_in_time(db, subscription, notice.rule)
    if announced is None:
        announce(db, subscription, notice)
        announced = clock.now()
    earliest = announced + notice_plan.shortest_notice(subscription, notice.rule)
    if earliest <= clock.now():
        return True
    subscription.charge_from = earliest
    return False


def _is_wanted(db: ScopedSession, subscription: Subscription, occasion: Occasion) -> bool:
    customer = db.scalar(select(Customer).where(Customer.customer_id == subscription.customer_id))
    return customer is not None and occasion != "price_change" and optional_notices.is_on(_business(db, subscription), customer, occasion)


def _business(db: ScopedSession, subscription: Subscription) -> Business:
    business = db.scalar(select(Business).where(Business.business_id == subscription.business_id))
    assert business is not None
    return business


def next_amount(db: ScopedSession, subscription: Subscription) -> int:
    """The amount the renewal will charge, in minor units: priced like its invoice, less credit, plus what was carried over."""
    coming = subscription_queries.get_subscription(db, subscription.id).coming()  # a scheduled plan change is applied first
    assert coming.next_billing_at is not None
    total = prices.total(
        prices.for_period(_business(db, subscription), coming, coming.product, coming.next_billing_at, coming.next_billing_at)
    )
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
    customer = db.scalar(select(Customer).where(Customer.customer_id == card.customer_id))
    business = db.scalar(select(Business).where(Business.business_id == card.business_id))
    if customer is None or business is None or not optional_notices.is_on(business, customer, "card_expiring"):
        return
    if record_once(db, owner, "expiring", card.id, end):
        paid = select(Subscription).where(Subscription.payment_method_id == card.id, Subscription.status.in_(LIVE))
        subscriptions = list(db.scalars(paid.order_by(Subscription.next_billing_at, Subscription.id)))
        emit_about(
            db,
            card,
            "payment_method.expiring",
            brand=card.brand,
            last4=card.last4,
            expires_at=end.isoformat(),
            subscription_ids=[subscription.id for subscription in subscriptions],
            charges=[_charge(db, subscription) for subscription in subscriptions[:LISTED] if subscription.next_billing_at],
        )


def _charge(db: ScopedSession, subscription: Subscription) -> dict[str, Any]:
    """Return what the email lists of a subscription: its name, and amount and date of the next charge."""
    name = subscription_queries.get_subscription(db, subscription.id).coming().name
    at = subscription.next_billing_at
    return {"name": name, "amount": next_amount(db, subscription), "currency": subscription.currency, "at": at.isoformat() if at else None}


def month_end(year: int, month: int) -> datetime:
    """The start of the next month (UTC): a card is valid until its month ends."""
    return datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
