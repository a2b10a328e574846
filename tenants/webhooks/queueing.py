"""Turns an event into deliveries, one per subscribed endpoint. Runs in the worker and is idempotent."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import select

from billing.model.payments import Payment, Refund
from billing.model.subscriptions import Subscription
from core import clock
from core.db import ScopedSession
from core.ids import new_id
from core.outbox_claims import Work
from core.scope import system
from core.services import Services
from tenants.webhooks.event_types import PATTERNS, noun_of, types_of
from tenants.webhooks.models import Delivery, Endpoint


def register(services: Services, wake: Callable[[], None]) -> None:
    """`wake` is called after new deliveries were added."""

    def queue(work: Work) -> None:
        if deliver(services, work):
            wake()

    for pattern in PATTERNS:
        services.handlers.on(pattern, queue, "webhooks.queue")


def deliver(services: Services, work: Work) -> int:
    """Add the deliveries of an event. Return how many were added."""
    types = types_of(work.type)
    if not types or not work.business_id:
        return 0
    scope = system(work.business_id)
    with services.database.open(scope) as db:
        if not _is_wanted(db, types) or _is_external(db, work):
            return 0
        noun_id, data = _object_of(db, work)
    added = 0
    with services.database.open(scope, write=True) as db:
        for endpoint in db.scalars(select(Endpoint).where(Endpoint.removed_at.is_(None)).order_by(Endpoint.id).with_for_update()):
            known = set(db.scalars(select(Delivery.type).where(Delivery.endpoint_id == endpoint.id, Delivery.event_id == work.id)))
            for type in types:
                if type not in known and _wants(endpoint, type):
                    add(db, endpoint, type, work.id, noun_id, data).event_at = work.at
                    added += 1
    return added


def add(db: ScopedSession, endpoint: Endpoint, type: str, event_id: str, noun_id: str | None, data: dict[str, object]) -> Delivery:
    """Add a delivery. `endpoint` must be locked: the sender locks it as well before it computes when the next delivery is due."""
    at = clock.wall()
    row = Delivery(
        business_id=endpoint.business_id, id=new_id("whd"), endpoint_id=endpoint.id, event_id=event_id, type=type,
        message_id=message_id(event_id, type), noun_id=noun_id, data=data, event_at=clock.now(), state="pending", due_at=at,
        tries=0, attempts=0, created_at=at,
    )  # fmt: skip
    if endpoint.disabled:
        row.state, row.due_at = "held", None
    else:
        endpoint.due_at = min(endpoint.due_at or at, at)
    db.add(row)
    return row


def message_id(event_id: str, type: str) -> str:
    """Return the `webhook-id` of an event, so that receivers recognize duplicates. It has no dots, which the signature uses."""
    base = "msg_" + event_id.removeprefix("evt_")
    return base + "_updated" if type == "subscription.updated" else base


def _is_wanted(db: ScopedSession, types: list[str]) -> bool:
    return any(_wants(endpoint, type) for endpoint in db.scalars(select(Endpoint).where(Endpoint.removed_at.is_(None))) for type in types)


def _wants(endpoint: Endpoint, type: str) -> bool:
    return not endpoint.filter_types or type in endpoint.filter_types


def _is_external(db: ScopedSession, work: Work) -> bool:
    """Return whether another system bills the subscription. That system sends its own webhooks (safety 4.12)."""
    subscription_id = work.data.get("subscription_id")
    if noun_of(work.type) in ("subscription", "dunning"):
        subscription_id = work.noun_id
    elif noun_of(work.type) == "refund" and not subscription_id:
        subscription_id = db.scalar(select(Refund.subscription_id).where(Refund.id == work.noun_id))
    collected_by = db.scalar(select(Subscription.collected_by).where(Subscription.id == subscription_id)) if subscription_id else None
    return collected_by not in (None, "us")


def _object_of(db: ScopedSession, work: Work) -> tuple[str | None, dict[str, object]]:
    """Return (id of the object of the payload, additional data). Events of a payment are stored under its subscription."""
    if noun_of(work.type) == "payment":
        return work.data.get("payment_id") or work.noun_id, {}
    bill = work.data.get("invoice_id") if work.type == "subscription.renewed" else None
    paid = db.scalar(select(Payment.id).where(Payment.invoice_id == bill, Payment.status == "succeeded").limit(1)) if bill else None
    return work.noun_id, {"payment_id": paid} if paid else {}
