"""Event → deliveries: one message per endpoint that wants it. Run by the worker; an event that comes twice changes nothing."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import select

from billing.payments import Payment, Refund
from billing.subscriptions import Subscription
from core import clock
from core.db import ScopedSession
from core.ids import new_id
from core.scope import system
from core.web import House
from core.worker import Work
from tenants.webhooks.kinds import PATTERNS, noun_of, types_of
from tenants.webhooks.tables import Delivery, Endpoint


def register(house: House, wake: Callable[[], None]) -> None:
    """`wake`: called when something new waits to be sent."""

    def queue(work: Work) -> None:
        if deliver(house, work):
            wake()

    for pattern in PATTERNS:
        house.handlers.on(pattern, queue, "webhooks.queue")


def deliver(house: House, work: Work) -> int:
    """How many deliveries were added."""
    types = types_of(work.type)
    if not types or not work.business_id:
        return 0
    scope = system(work.business_id)
    with house.database.open(scope) as db:
        if not _wanting(db, types) or _is_elsewhere(db, work):
            return 0
        noun_id, data = _about(db, work)
    added = 0
    with house.database.open(scope, write=True) as db:
        for endpoint in db.scalars(select(Endpoint).where(Endpoint.removed_at.is_(None)).order_by(Endpoint.id).with_for_update()):
            known = set(db.scalars(select(Delivery.type).where(Delivery.endpoint_id == endpoint.id, Delivery.event_id == work.id)))
            for type in types:
                if type not in known and _wants(endpoint, type):
                    add(db, endpoint, type, work.id, noun_id, data).event_at = work.at
                    added += 1
    return added


def add(db: ScopedSession, endpoint: Endpoint, type: str, event_id: str, noun_id: str | None, data: dict[str, object]) -> Delivery:
    """`endpoint` is locked: whoever sends there takes a lock as well before looking for what is due next."""
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
    """`webhook-id`: from the event, so that a second delivery of it is known by receivers. No dots: the signature uses them."""
    core = "msg_" + event_id.removeprefix("evt_")
    return core + "_updated" if type == "subscription.updated" else core


def _wanting(db: ScopedSession, types: list[str]) -> bool:
    return any(_wants(one, type) for one in db.scalars(select(Endpoint).where(Endpoint.removed_at.is_(None))) for type in types)


def _wants(endpoint: Endpoint, type: str) -> bool:
    return not endpoint.filter_types or type in endpoint.filter_types


def _is_elsewhere(db: ScopedSession, work: Work) -> bool:
    """What another system collects, that system tells of: the same receiver would hear everything twice (safety 4.12)."""
    one = work.data.get("subscription_id")
    if noun_of(work.type) in ("subscription", "dunning"):
        one = work.noun_id
    elif noun_of(work.type) == "refund" and not one:
        one = db.scalar(select(Refund.subscription_id).where(Refund.id == work.noun_id))
    by = db.scalar(select(Subscription.collected_by).where(Subscription.id == one)) if one else None
    return by not in (None, "us")


def _about(db: ScopedSession, work: Work) -> tuple[str | None, dict[str, object]]:
    """(id of the row the payload is built from, what else it needs): a payment's events stand on its subscription."""
    if noun_of(work.type) == "payment":
        return work.data.get("payment_id") or work.noun_id, {}
    bill = work.data.get("invoice_id") if work.type == "subscription.renewed" else None
    paid = db.scalar(select(Payment.id).where(Payment.invoice_id == bill, Payment.status == "succeeded").limit(1)) if bill else None
    return work.noun_id, {"payment_id": paid} if paid else {}
