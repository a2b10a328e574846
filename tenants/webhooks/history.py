"""Lists deliveries for the console, replays them and sends test events. Sessions are of that business."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, or_, select

from core import clock
from core.db import ScopedSession
from core.errors import N_, Conflict, Invalid, NotFound
from core.ids import new_id
from tenants.webhooks.endpoints import find
from tenants.webhooks.event_types import SENT
from tenants.webhooks.models import Attempt, Delivery, Endpoint
from tenants.webhooks.queueing import add

MAX_REPLAYED = 10_000
REPLAYABLE = ("failed", "held")
"""States of deliveries that `replay_since` sends again."""


@dataclass(frozen=True)
class DeliveryWithAttempts:
    """A delivery with its attempts, newest first."""

    delivery: Delivery
    attempts: list[Attempt]


def deliveries(
    db: ScopedSession, *, endpoint_id: str | None = None, state: str | None = None, type: str | None = None,
    before: Delivery | None = None, limit: int = 50,
) -> list[Delivery]:  # fmt: skip
    """Return deliveries, newest first. `before`: the last delivery of the previous page."""
    query = select(Delivery)
    for column, value in ((Delivery.endpoint_id, endpoint_id), (Delivery.state, state), (Delivery.type, type)):
        if value is not None:
            query = query.where(column == value)
    if before is not None:
        query = query.where(
            or_(Delivery.created_at < before.created_at, and_(Delivery.created_at == before.created_at, Delivery.id < before.id))
        )
    return list(db.scalars(query.order_by(Delivery.created_at.desc(), Delivery.id.desc()).limit(limit)))


def delivery(db: ScopedSession, delivery_id: str) -> DeliveryWithAttempts:
    """Return a delivery with its attempts. Raises NotFound."""
    row = db.scalar(select(Delivery).where(Delivery.id == delivery_id))
    if row is None:
        raise NotFound(sentence=N_("This delivery does not exist."))
    attempts = select(Attempt).where(Attempt.delivery_id == row.id).order_by(Attempt.number.desc())
    return DeliveryWithAttempts(row, list(db.scalars(attempts)))


def counts(db: ScopedSession, endpoint_id: str, since: datetime) -> dict[str, int]:
    """Return the number of deliveries since then by state."""
    query = select(Delivery.state, func.count(Delivery.id)).where(Delivery.endpoint_id == endpoint_id, Delivery.created_at >= since)
    return {state: count for state, count in db.execute(query.group_by(Delivery.state))}


def replay(db: ScopedSession, delivery_id: str) -> Delivery:
    """Send a delivery again now, under the same message id and with all retries. Delivered ones can be sent again as well.

    Raises NotFound, Conflict (the endpoint is disabled, the delivery is pending, or its object no longer exists).
    """
    row = delivery(db, delivery_id).delivery
    endpoint = _enabled_endpoint(db, row.endpoint_id)
    if row.state == "dropped":
        raise Conflict("GONE", N_("The object of this event no longer exists."))
    if row.state == "pending" and row.tries == 0:
        raise Conflict("ALREADY_WAITING", N_("This event is already waiting to be sent."))
    _requeue(endpoint, row, clock.wall())
    return row


def replay_since(db: ScopedSession, endpoint_id: str, since: datetime) -> int:
    """Send the failed and held deliveries since then again. Return how many; at MAX_REPLAYED there may be more.

    Raises NotFound, Conflict.
    """
    endpoint, at = _enabled_endpoint(db, endpoint_id), clock.wall()
    query = select(Delivery).where(Delivery.endpoint_id == endpoint_id, Delivery.state.in_(REPLAYABLE), Delivery.created_at >= since)
    rows = list(db.scalars(query.order_by(Delivery.created_at, Delivery.id).limit(MAX_REPLAYED)))
    for row in rows:
        _requeue(endpoint, row, at)
    return len(rows)


def send_test(db: ScopedSession, endpoint_id: str, type: str) -> Delivery:
    """Send a sample event of that type, without retries. Raises NotFound, Conflict, Invalid (a type that is not sent)."""
    if type not in SENT:
        raise Invalid(fields={"type": N_("Choose one of the event types.")})
    return add(db, _enabled_endpoint(db, endpoint_id), type, new_id("test"), None, {"test": True})


def _enabled_endpoint(db: ScopedSession, endpoint_id: str) -> Endpoint:
    endpoint = find(db, endpoint_id, lock=True)
    if endpoint.disabled:
        raise Conflict("WEBHOOK_DISABLED", N_("This webhook is disabled. Enable it first."))
    return endpoint


def _requeue(endpoint: Endpoint, row: Delivery, at: datetime) -> None:
    row.state, row.due_at, row.tries = "pending", at, 0
    endpoint.due_at = min(endpoint.due_at or at, at)
