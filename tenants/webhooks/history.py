"""What was sent, read by the console; tests, replays of one, and replays of all that failed. Sessions are of that business."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, or_, select

from core import clock
from core.db import ScopedSession
from core.errors import Conflict, Invalid, NotFound
from core.ids import new_id
from tenants.webhooks.endpoints import find
from tenants.webhooks.kinds import SENT
from tenants.webhooks.queueing import add
from tenants.webhooks.tables import Attempt, Delivery, Endpoint

MOST = 10_000
WAITING = ("failed", "held")
"""States that a replay can bring back."""


@dataclass(frozen=True)
class Sent:
    """A delivery with its attempts, the newest first."""

    delivery: Delivery
    attempts: list[Attempt]


def deliveries(
    db: ScopedSession, *, endpoint_id: str | None = None, state: str | None = None, type: str | None = None,
    before: Delivery | None = None, limit: int = 50,
) -> list[Delivery]:  # fmt: skip
    """Newest first; `before`: the last one of the page before."""
    query = select(Delivery)
    for column, value in ((Delivery.endpoint_id, endpoint_id), (Delivery.state, state), (Delivery.type, type)):
        if value is not None:
            query = query.where(column == value)
    if before is not None:
        query = query.where(or_(Delivery.created_at < before.created_at, and_(Delivery.created_at == before.created_at,
                                                                              Delivery.id < before.id)))
    return list(db.scalars(query.order_by(Delivery.created_at.desc(), Delivery.id.desc()).limit(limit)))


def delivery(db: ScopedSession, delivery_id: str) -> Sent:
    """Raises NotFound."""
    row = db.scalar(select(Delivery).where(Delivery.id == delivery_id))
    if row is None:
        raise NotFound(sentence="There is no such delivery.")
    attempts = select(Attempt).where(Attempt.delivery_id == row.id).order_by(Attempt.number.desc())
    return Sent(row, list(db.scalars(attempts)))


def counts(db: ScopedSession, endpoint_id: str, since: datetime) -> dict[str, int]:
    """State → how many deliveries since then."""
    query = select(Delivery.state, func.count(Delivery.id)).where(Delivery.endpoint_id == endpoint_id, Delivery.created_at >= since)
    return {state: count for state, count in db.execute(query.group_by(Delivery.state))}


def replay(db: ScopedSession, delivery_id: str) -> Delivery:
    """Send it once more, now, under the same id, with all tries of a new series; what was delivered may be sent again as well.

    Raises NotFound, Conflict (the endpoint is switched off or gone, it waits already, or what it was about is gone).
    """
    row = delivery(db, delivery_id).delivery
    endpoint = _open(db, row.endpoint_id)
    if row.state == "dropped":
        raise Conflict("GONE", "What this was about does not exist any more.")
    if row.state == "pending" and row.tries == 0:
        raise Conflict("ALREADY_WAITING", "It waits to be sent already.")
    _again(endpoint, row, clock.wall())
    return row


def replay_since(db: ScopedSession, endpoint_id: str, since: datetime) -> int:
    """Send again what failed, or was held while the endpoint was off, since then. Returns how many (MOST: there may be more).

    Raises NotFound, Conflict."""
    endpoint, at = _open(db, endpoint_id), clock.wall()
    query = select(Delivery).where(Delivery.endpoint_id == endpoint_id, Delivery.state.in_(WAITING), Delivery.created_at >= since)
    rows = list(db.scalars(query.order_by(Delivery.created_at, Delivery.id).limit(MOST)))
    for row in rows:
        _again(endpoint, row, at)
    return len(rows)


def send_test(db: ScopedSession, endpoint_id: str, type: str) -> Delivery:
    """An example of that type, about nobody, once. Raises NotFound, Conflict, Invalid (no type that is sent here)."""
    if type not in SENT:
        raise Invalid(fields={"type": "Choose one of the event types."})
    return add(db, _open(db, endpoint_id), type, new_id("test"), None, {"test": True})


def _open(db: ScopedSession, endpoint_id: str) -> Endpoint:
    endpoint = find(db, endpoint_id, lock=True)
    if endpoint.disabled:
        raise Conflict("WEBHOOK_DISABLED", "This webhook is switched off. Switch it on first.")
    return endpoint


def _again(endpoint: Endpoint, row: Delivery, at: datetime) -> None:
    row.state, row.due_at, row.tries = "pending", at, 0
    endpoint.due_at = min(endpoint.due_at or at, at)
