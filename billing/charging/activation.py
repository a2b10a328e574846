"""Starts, renews and suspends a subscription, and issues and updates its license keys (contract §5.8, §5.9)."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from sqlalchemy import select

from billing.model import lifecycle, policy
from billing.model.catalogue import Product
from billing.model.events import emit_about, emit_subscription_event
from billing.model.invoices import Invoice
from billing.model.licenses import LicenseKey, key_status
from billing.model.lifecycle import UNPAID_STATES
from billing.model.parties import Business, Customer
from billing.model.payments import Payment
from billing.model.subscriptions import Subscription
from billing.pricing import late_payment
from billing.pricing.calendar import add, nth
from core import clock
from core.db import ScopedSession
from core.ids import CODE_ALPHABET, new_id


def activate(db: ScopedSession, business: Business, customer: Customer, subscription: Subscription) -> None:
    """Activate a pending subscription. Its anchor is the end of the trial, or now."""
    at = clock.now()
    subscription.status = lifecycle.move(lifecycle.SUBSCRIPTION, subscription.status, "activate")
    if subscription.trial_days:
        subscription.trial_ends_at = at + timedelta(days=subscription.trial_days)
        subscription.anchor_at, subscription.period_n = subscription.trial_ends_at, 0
    else:
        subscription.anchor_at, subscription.period_n = at, 1
    subscription.concluded_at = subscription.previous_billing_at = at
    subscription.next_billing_at = next_date(subscription)
    subscription.expires_at = add(at, subscription.zone, subscription.term_interval, subscription.term_count)
    emit_subscription_event(db, subscription, "subscription.active")
    product = db.scalar(select(Product).where(Product.id == subscription.product_id))
    if product is not None:
        issue_keys(db, customer, product, subscription.quantity, subscription=subscription)


def next_date(subscription: Subscription) -> datetime:
    assert subscription.anchor_at is not None
    return nth(
        subscription.anchor_at,
        subscription.zone,
        subscription.interval,
        subscription.interval_count,
        subscription.period_n - subscription.anchor_n,
    )


def renew(db: ScopedSession, subscription: Subscription, invoice: Invoice | None) -> None:
    """Record that the n-th period is paid.

    A late payment makes a subscription on hold active again, with the dates from `late_payment.py`.
    """
    n = int(invoice.operation.rsplit(":", 1)[1]) if invoice is not None else subscription.period_n + 1
    was = subscription.status
    if was in lifecycle.ENDED:
        return
    if was != "paused":  # if it was paused during the payment, it stays paused with a later date
        subscription.status = lifecycle.move(lifecycle.SUBSCRIPTION, was, "renew" if was == "active" else "recover")
    subscription.period_n = max(subscription.period_n, n)
    subscription.previous_billing_at = clock.now()
    subscription.on_hold_at = None
    if was == "on_hold":
        late_payment.move_dates(subscription, late_payment.dates_after(db, subscription, subscription.period_n))
    else:
        subscription.next_billing_at = next_date(subscription)
    recovered = was in UNPAID_STATES
    emit_subscription_event(
        db,
        subscription,
        "subscription.active" if recovered else "subscription.renewed",
        reactivated=recovered,
        invoice_id=invoice.id if invoice else None,
    )
    if recovered:
        update_keys(db, subscription)


def fail(db: ScopedSession, subscription: Subscription) -> None:
    """Record that a pending subscription did not start, because its first payment failed."""
    subscription.status = lifecycle.move(lifecycle.SUBSCRIPTION, subscription.status, "fail")
    emit_subscription_event(db, subscription, "subscription.failed")


def mark_unpaid(db: ScopedSession, subscription: Subscription) -> None:
    """Make an unpaid subscription past due if the business has a grace period (contract §5.1), otherwise put it on hold."""
    business = db.scalar(select(Business).where(Business.business_id == subscription.business_id))
    if business is None or not policy.setting(business, "grace_days"):
        put_on_hold(db, subscription)
    elif subscription.status == "active":
        subscription.status = lifecycle.move(lifecycle.SUBSCRIPTION, subscription.status, "late")
        subscription.on_hold_at = clock.now()  # when it became unpaid; access continues
        emit_subscription_event(db, subscription, "subscription.past_due")


def put_on_hold(db: ScopedSession, subscription: Subscription) -> None:
    subscription.status = lifecycle.move(lifecycle.SUBSCRIPTION, subscription.status, "hold")
    subscription.on_hold_at = clock.now()
    emit_subscription_event(db, subscription, "subscription.on_hold")
    update_keys(db, subscription)


def update_keys(db: ScopedSession, subscription: Subscription) -> None:
    """Update the keys of a subscription to its state, unless they are disabled for another reason (`licenses.key_status`)."""
    for key in db.scalars(select(LicenseKey).where(LicenseKey.subscription_id == subscription.id, LicenseKey.status != "expired")):
        key.status = key_status(key, subscription.status)


def issue_keys(
    db: ScopedSession,
    customer: Customer,
    product: Product,
    count: int,
    *,
    subscription: Subscription | None = None,
    payment: Payment | None = None,
) -> None:
    """Issue one key per unit. A subscription's key has no expiry of its own."""
    if not product.license_key_enabled:
        return
    expires = None
    if subscription is None and product.license_key_duration:
        span = product.license_key_duration
        expires = add(clock.now(), "UTC", span["interval"], span["count"])
    for _ in range(count):
        key = LicenseKey(
            business_id=customer.business_id,
            customer_id=customer.customer_id,
            id=new_id("lic"),
            brand_id=product.brand_id,
            product_id=product.id,
            subscription_id=subscription.id if subscription else None,
            payment_id=payment.id if payment else None,
            key=new_key(),
            status="active",
            source="auto",
            activations_limit=product.license_key_limit,
            instances_count=0,
            expires_at=expires,
            created_at=clock.now(),
        )
        db.add(key)
        emit_about(db, key, "license_key.created")


def new_key() -> str:
    """Return a random key: five groups of five characters, without look-alikes (122 bits)."""
    return "-".join("".join(secrets.choice(CODE_ALPHABET) for _ in range(5)) for _ in range(5))
