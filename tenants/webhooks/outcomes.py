"""What became of an attempt: written down, tried again later, or the endpoint is switched off."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from core import clock
from core.db import ScopedSession
from core.ids import new_id
from core.outbox import emit
from tenants.webhooks.endpoints import host_of, switch_off
from tenants.webhooks.tables import Attempt, Delivery, Endpoint

BACKOFF = [5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 10 * 3600]
"""Seconds after the n-th try in vain; with the first one that makes 8 (reference §2.9)."""
PATIENCE = timedelta(days=5)
"""An endpoint that never once answered well for so long is switched off."""
QUIET = timedelta(days=3)
REST = timedelta(seconds=5)
LONGEST_REST = timedelta(hours=1)


@dataclass(frozen=True)
class Outcome:
    """Of one attempt. `status`: the HTTP status, None where no answer came. `wait`: what Retry-After said, in seconds."""

    delivery_id: str
    at: datetime
    duration_ms: int = 0
    status: int | None = None
    error: str | None = None
    request: str = ""
    response: str = ""
    wait: int = 0

    @property
    def is_good(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def record(db: ScopedSession, endpoint_id: str, outcomes: list[Outcome], gone: list[str]) -> timedelta | None:
    """Write down what happened. `gone`: deliveries whose row does not exist any more. Returns how long to leave the endpoint alone."""
    endpoint = db.scalar(select(Endpoint).where(Endpoint.id == endpoint_id).with_for_update())
    if endpoint is None:
        return None
    ids = [*gone, *(one.delivery_id for one in outcomes)]
    rows = {row.id: row for row in db.scalars(select(Delivery).where(Delivery.id.in_(ids)).with_for_update())}
    for one in gone:
        _settle(rows[one], "dropped")
    for outcome in outcomes:
        _attempt(db, rows[outcome.delivery_id], outcome)
    real = [one for one in outcomes if not rows[one.delivery_id].data.get("test")]
    _health(db, endpoint, real)
    db.flush()
    _warn(db, endpoint, [row for one in real if (row := rows[one.delivery_id]).state == "failed"])
    if not endpoint.disabled:
        waiting = select(func.min(Delivery.due_at)).where(Delivery.endpoint_id == endpoint.id, Delivery.state == "pending")
        endpoint.due_at = db.scalar(waiting)
    return _rest(outcomes)


def _attempt(db: ScopedSession, row: Delivery, outcome: Outcome) -> None:
    row.attempts += 1
    db.add(Attempt(business_id=row.business_id, id=new_id("wha"), delivery_id=row.id, number=row.attempts, at=outcome.at,
                   status=outcome.status, error=outcome.error, duration_ms=outcome.duration_ms, request=outcome.request,
                   response=outcome.response))
    row.last_status = outcome.status
    if row.state not in ("pending", "held"):
        return  # another worker, after our lease, brought it there: the receiver has it twice, under one id
    row.tries += 1
    if outcome.is_good:
        row.delivered_at = outcome.at
        _settle(row, "delivered")
    elif row.tries > len(BACKOFF) or row.data.get("test"):
        _settle(row, "failed")
    elif row.state == "pending":
        row.due_at = outcome.at + timedelta(seconds=BACKOFF[row.tries - 1])


def _settle(row: Delivery, state: str) -> None:
    row.state, row.due_at = state, None


def _health(db: ScopedSession, endpoint: Endpoint, outcomes: list[Outcome]) -> None:
    if not outcomes or endpoint.disabled:
        return
    if any(one.is_good for one in outcomes):
        endpoint.failing_since = None
    elif endpoint.failing_since is None:
        endpoint.failing_since = outcomes[0].at
    why = "gone" if any(one.status == 410 for one in outcomes) else \
        "failing" if endpoint.failing_since and outcomes[-1].at - endpoint.failing_since > PATIENCE else None
    if why:
        db.flush()
        switch_off(db, endpoint, why)
        emit(db, "webhook_endpoint.switched_off", business_id=endpoint.business_id, noun=endpoint.id,
             data={"why": why, "host": host_of(endpoint), "since": (endpoint.failing_since or clock.wall()).isoformat()})


def _warn(db: ScopedSession, endpoint: Endpoint, failed: list[Delivery]) -> None:
    """The owners hear of the first message that is not tried again, and then for three days of no other."""
    if not failed or endpoint.disabled:
        return
    others = select(Delivery.id).where(Delivery.endpoint_id == endpoint.id, Delivery.state == "failed",
                                       Delivery.id.not_in([row.id for row in failed]), Delivery.tries > 1,
                                       Delivery.created_at > failed[0].created_at - QUIET)  # tests are tried once
    if db.scalar(others.limit(1)) is None:
        emit(db, "webhook_endpoint.failing", business_id=endpoint.business_id, noun=endpoint.id,
             data={"host": host_of(endpoint), "type": failed[0].type, "delivery_id": failed[0].id, "status": failed[0].last_status})


def _rest(outcomes: list[Outcome]) -> timedelta | None:
    """Whoever asked for time gets it; who answers nobody at all is asked again a little later, so that others get the turn."""
    asked = max((one.wait for one in outcomes if one.status in (429, 503)), default=0)
    if asked:
        return min(timedelta(seconds=asked), LONGEST_REST)
    return REST if outcomes and all(one.status is None for one in outcomes) else None
