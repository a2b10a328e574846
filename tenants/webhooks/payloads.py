"""Builds messages: the envelope of the contract around the current state of the object, not its state at the time of the event."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import select

from billing.history import api_lists as read
from billing.history.disputes import dispute, disputes_of
from billing.model.lifecycle import UNPAID_STATES
from billing.model.policy import setting
from billing.model.sent_notices import SentNotice
from billing.model.subscriptions import Subscription
from billing.plan_changes.scheduled import scheduled
from core.db import ScopedSession
from core.errors import NotFound
from tenants.api.shapes import Json, stamp
from tenants.api.shapes.disputes import DisputeShape
from tenants.api.shapes.licenses import LicenseKeyShape
from tenants.api.shapes.payments import PaymentShape, RefundShape
from tenants.api.shapes.subscriptions import SubscriptionShape
from tenants.webhooks.event_types import PAYLOADS, noun_of
from tenants.webhooks.examples import example
from tenants.webhooks.models import Delivery


def payload(db: ScopedSession, row: Delivery) -> Json | None:
    """Return the message as JSON; None if its object no longer exists. `db` is a session of the delivery's business."""
    noun = noun_of(row.type)
    try:
        shape = example(db, noun) if row.data.get("test") else _DATA[noun](db, row)
    except NotFound:
        return None
    return {
        "business_id": row.business_id,
        "type": row.type,
        "timestamp": stamp(row.event_at),
        "data": {"payload_type": PAYLOADS[noun], **shape},
    }


def _payment(db: ScopedSession, row: Delivery) -> Json:
    refunds = read.refunds(db, read.ListPage(size=100), payment_id=str(row.noun_id))
    return PaymentShape.of(read.payment(db, str(row.noun_id)), refunds, disputes_of(db, str(row.noun_id))).json()


def _refund(db: ScopedSession, row: Delivery) -> Json:
    return RefundShape.of(*read.refund(db, str(row.noun_id))).json()


def _dispute(db: ScopedSession, row: Delivery) -> Json:
    found = dispute(db, str(row.noun_id))
    return DisputeShape.of_customer(found.dispute, found.customer).json()


def _license_key(db: ScopedSession, row: Delivery) -> Json:
    return LicenseKeyShape.of(read.license_key(db, str(row.noun_id))).json()


def _subscription(db: ScopedSession, row: Delivery) -> Json:
    """`past_due_ends_at`: when access ends without a payment. `payment_id`: the payment of a renewal."""
    item, customer, product = read.subscription(db, str(row.noun_id))
    shape, ends = SubscriptionShape.of(item, customer, product, scheduled(db, [item.id]).get(item.id)).json(), None
    if item.status == "past_due" and item.on_hold_at:
        ends = item.on_hold_at + timedelta(days=float(setting(read.business(db, row.business_id), "grace_days")))
    return {**shape, "past_due_ends_at": stamp(ends) if ends else None, "payment_id": row.data.get("payment_id")}


def _dunning(db: ScopedSession, row: Delivery) -> Json:
    """Dunning starts when a subscription is on hold. It ends with a payment (recovered) or without one (exhausted)."""
    item: Subscription = read.subscription(db, str(row.noun_id))[0]
    began = db.scalar(
        select(SentNotice.at)
        .where(SentNotice.purpose == "dunning", SentNotice.noun_id == item.id)
        .order_by(SentNotice.for_at.desc(), SentNotice.step)
        .limit(1)
    )
    recovered = row.type == "dunning.recovered" or item.status == "active"
    paid = read.payments(db, read.ListPage(size=1), subscription_id=item.id, status=["succeeded"]) if recovered else []
    return {
        "brand_id": item.brand_id, "created_at": stamp(began or row.event_at), "customer_id": item.customer_id,
        "status": "recovered" if recovered else "recovering" if item.status in UNPAID_STATES else "exhausted",
        "subscription_id": item.id, "trigger_state": "on_hold", "payment_id": paid[0].payment.id if paid else None,
    }  # fmt: skip


_DATA: dict[str, Callable[[ScopedSession, Delivery], Json]] = {
    "payment": _payment, "refund": _refund, "dispute": _dispute,
    "license_key": _license_key, "subscription": _subscription, "dunning": _dunning,
}  # fmt: skip
