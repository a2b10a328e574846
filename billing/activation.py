"""What being paid, or not, does to a subscription and to licence keys (contract §5.8, §5.9)."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from sqlalchemy import select

from billing import late_payment, lifecycle, policy
from billing.authors import actor_of
from billing.calendar import add, nth
from billing.catalogue import Product
from billing.invoices import Invoice
from billing.licences import LicenseKey, key_status
from billing.method_use import use_where_wanted
from billing.parties import Business, Customer
from billing.payments import Payment, PaymentMethod
from billing.subscriptions import Subscription
from core import clock
from core.db import ScopedSession
from core.ids import CODE_ALPHABET, new_id
from core.outbox import emit


def paid_for(
    db: ScopedSession, business: Business, customer: Customer, payment: Payment, subscription: Subscription | None,
    invoice: Invoice | None, method: PaymentMethod | None,
) -> None:
    use_where_wanted(db, payment, method)
    if subscription is None:
        products = [item["product_id"] for item in payment.cart if item.get("product_id")]
        for product in db.scalars(select(Product).where(Product.id.in_(products))):
            count = sum(item["quantity"] for item in payment.cart if item.get("product_id") == product.id)
            issue_keys(db, customer, product, count, payment=payment)
        return
    if method is not None and (subscription.payment_method_id is None or payment.charge_type == "new"):
        subscription.payment_method_id = method.id
    if subscription.status == "pending":
        activate(db, business, customer, subscription)
    elif invoice is not None and invoice.kind == "plan_change":
        from billing import plan_switch  # which starts from what is here

        plan_switch.paid(db, customer, subscription, invoice, actor_of(payment))
    elif payment.charge_type == "renewal":
        renew(db, subscription, invoice)


def activate(db: ScopedSession, business: Business, customer: Customer, subscription: Subscription) -> None:
    """pending → active: the anchor is set, by the trial's end or now."""
    at = clock.now()
    subscription.status = lifecycle.move(lifecycle.SUBSCRIPTION, subscription.status, "activate")
    if subscription.trial_days:
        subscription.trial_ends_at = at + timedelta(days=subscription.trial_days)
        subscription.anchor_at, subscription.period_n = subscription.trial_ends_at, 0
    else:
        subscription.anchor_at, subscription.period_n = at, 1
    subscription.previous_billing_at = at
    subscription.next_billing_at = next_date(subscription)
    subscription.expires_at = add(at, subscription.zone, subscription.term_interval, subscription.term_count)
    _note(db, subscription, "subscription.active")
    product = db.scalar(select(Product).where(Product.id == subscription.product_id))
    if product is not None:
        issue_keys(db, customer, product, subscription.quantity, subscription=subscription)


def next_date(subscription: Subscription) -> datetime:
    assert subscription.anchor_at is not None
    return nth(subscription.anchor_at, subscription.zone, subscription.interval, subscription.interval_count,
               subscription.period_n - subscription.anchor_n)


def renew(db: ScopedSession, subscription: Subscription, invoice: Invoice | None) -> None:
    """The n-th period is paid. Late payment of a held one starts it again (`late_payment.py` says with which dates)."""
    n = int(invoice.operation.rsplit(":", 1)[1]) if invoice is not None else subscription.period_n + 1
    was = subscription.status
    if was in ("cancelled", "expired", "failed"):
        return
    if was != "paused":  # paid while it was being paused: it stays paused, for a later date
        subscription.status = lifecycle.move(lifecycle.SUBSCRIPTION, was, "renew" if was == "active" else "recover")
    subscription.period_n = max(subscription.period_n, n)
    subscription.previous_billing_at = clock.now()
    subscription.on_hold_at = None
    if was == "on_hold":
        late_payment.move_dates(subscription, late_payment.dates_after(db, subscription, subscription.period_n))
    else:
        subscription.next_billing_at = next_date(subscription)
    recovered = was in ("on_hold", "past_due")
    _note(db, subscription, "subscription.active" if recovered else "subscription.renewed", reactivated=recovered,
          invoice_id=invoice.id if invoice else None)
    if recovered:
        follow_keys(db, subscription)


def unpaid_for(db: ScopedSession, payment: Payment, subscription: Subscription | None) -> None:
    if subscription is None:
        return
    if subscription.status == "pending":
        subscription.status = lifecycle.move(lifecycle.SUBSCRIPTION, subscription.status, "fail")
        _note(db, subscription, "subscription.failed")
    elif payment.charge_type == "plan_change":
        from billing import plan_switch

        plan_switch.unpaid(db, payment, subscription)
    elif payment.charge_type == "renewal" and subscription.status in ("active", "past_due"):
        fall_behind(db, subscription)


def fall_behind(db: ScopedSession, subscription: Subscription) -> None:
    """What is due was not paid: past due for as long as the business grants (contract §5.1), on hold otherwise."""
    business = db.scalar(select(Business).where(Business.business_id == subscription.business_id))
    if business is None or not policy.setting(business, "grace_days"):
        hold(db, subscription)
    elif subscription.status == "active":
        subscription.status = lifecycle.move(lifecycle.SUBSCRIPTION, subscription.status, "late")
        subscription.on_hold_at = clock.now()  # since when it is unpaid; access is kept meanwhile
        _note(db, subscription, "subscription.past_due")


def hold(db: ScopedSession, subscription: Subscription) -> None:
    subscription.status = lifecycle.move(lifecycle.SUBSCRIPTION, subscription.status, "hold")
    subscription.on_hold_at = clock.now()
    _note(db, subscription, "subscription.on_hold")
    follow_keys(db, subscription)


def follow_keys(db: ScopedSession, subscription: Subscription) -> None:
    """Keys follow their subscription's state, as far as nothing else keeps them disabled (`licences.key_status`)."""
    for key in db.scalars(select(LicenseKey).where(LicenseKey.subscription_id == subscription.id, LicenseKey.status != "expired")):
        key.status = key_status(key, subscription.status)


def issue_keys(
    db: ScopedSession, customer: Customer, product: Product, count: int, *, subscription: Subscription | None = None,
    payment: Payment | None = None,
) -> None:
    """One key per unit. A subscription's key has no expiry of its own."""
    if not product.license_key_enabled:
        return
    expires = None
    if subscription is None and product.license_key_duration:
        span = product.license_key_duration
        expires = add(clock.now(), "UTC", span["interval"], span["count"])
    for _ in range(count):
        key = LicenseKey(
            business_id=customer.business_id, customer_id=customer.customer_id, id=new_id("lic"), brand_id=product.brand_id,
            product_id=product.id, subscription_id=subscription.id if subscription else None, payment_id=payment.id if payment else None,
            key=new_key(), status="active", source="auto", activations_limit=product.license_key_limit, instances_count=0,
            expires_at=expires, created_at=clock.now(),
        )
        db.add(key)
        emit(db, "license_key.created", business_id=customer.business_id, customer_id=customer.customer_id, noun=key.id)


def new_key() -> str:
    """Five groups of five from an alphabet without look-alikes (122 bits)."""
    return "-".join("".join(secrets.choice(CODE_ALPHABET) for _ in range(5)) for _ in range(5))


def _note(db: ScopedSession, subscription: Subscription, type: str, **data: object) -> None:
    ends = subscription.next_billing_at
    emit(db, type, business_id=subscription.business_id, customer_id=subscription.customer_id, noun=subscription.id,
         data={**data, "next_billing_at": ends.isoformat() if ends else None})
