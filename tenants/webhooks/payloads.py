"""What is sent: the contract's envelope around the object as it is now, not as it was when the event happened."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import select

from billing.policy import setting
from billing.queries import api as read
from billing.queries.scheduled import scheduled
from billing.reminders import Reminder
from billing.subscriptions import Subscription
from core.db import ScopedSession
from core.errors import NotFound
from tenants.api.shapes import Json, stamp
from tenants.api.shapes.licences import LicenseKeyShape
from tenants.api.shapes.payments import PaymentShape, RefundShape
from tenants.api.shapes.subscriptions import SubscriptionShape
from tenants.webhooks.examples import example
from tenants.webhooks.kinds import PAYLOADS, noun_of
from tenants.webhooks.tables import Delivery


def payload(db: ScopedSession, row: Delivery) -> Json | None:
    """The message as JSON; None when what it is about is gone. `db` reads the business of the delivery."""
    noun = noun_of(row.type)
    try:
        shape = example(db, noun) if row.data.get("test") else _DATA[noun](db, row)
    except NotFound:
        return None
    return {"business_id": row.business_id, "type": row.type, "timestamp": stamp(row.event_at),
            "data": {"payload_type": PAYLOADS[noun], **shape}}


def _payment(db: ScopedSession, row: Delivery) -> Json:
    refunds = read.refunds(db, read.Page(size=100), payment_id=str(row.noun_id))
    return PaymentShape.of(read.payment(db, str(row.noun_id)), refunds).json()


def _refund(db: ScopedSession, row: Delivery) -> Json:
    return RefundShape.of(*read.refund(db, str(row.noun_id))).json()


def _license_key(db: ScopedSession, row: Delivery) -> Json:
    return LicenseKeyShape.of(read.license_key(db, str(row.noun_id))).json()


def _subscription(db: ScopedSession, row: Delivery) -> Json:
    """`past_due_ends_at`: when access ends unless it is paid; `payment_id`: of a renewal."""
    one, customer, product = read.subscription(db, str(row.noun_id))
    shape, ends = SubscriptionShape.of(one, customer, product, scheduled(db, [one.id]).get(one.id)).json(), None
    if one.status == "past_due" and one.on_hold_at:
        ends = one.on_hold_at + timedelta(days=float(setting(read.business(db, row.business_id), "grace_days")))
    return {**shape, "past_due_ends_at": stamp(ends) if ends else None, "payment_id": row.data.get("payment_id")}


def _dunning(db: ScopedSession, row: Delivery) -> Json:
    """Letters begin when a subscription is on hold; they end because it was paid, or in vain."""
    one: Subscription = read.subscription(db, str(row.noun_id))[0]
    began = db.scalar(select(Reminder.at).where(Reminder.purpose == "dunning", Reminder.noun_id == one.id)
                      .order_by(Reminder.for_at.desc(), Reminder.step).limit(1))
    recovered = row.type == "dunning.recovered" or one.status == "active"
    paid = read.payments(db, read.Page(size=1), subscription_id=one.id, status=["succeeded"]) if recovered else []
    return {
        "brand_id": one.brand_id, "created_at": stamp(began or row.event_at), "customer_id": one.customer_id,
        "status": "recovered" if recovered else "recovering" if one.status in ("on_hold", "past_due") else "exhausted",
        "subscription_id": one.id, "trigger_state": "on_hold", "payment_id": paid[0].payment.id if paid else None,
    }  # fmt: skip


_DATA: dict[str, Callable[[ScopedSession, Delivery], Json]] = {
    "payment": _payment, "refund": _refund, "license_key": _license_key, "subscription": _subscription, "dunning": _dunning,
}  # fmt: skip
