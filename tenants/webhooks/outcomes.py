"""Records attempts, schedules retries, and disables endpoints that keep failing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from core import clock
from core.db import ScopedSession
from core.ids import new_id
from core.outbox import emit
from tenants.webhooks.endpoints import host_of, switch_off
from tenants.webhooks.models import Attempt, Delivery, Endpoint

BACKOFF = [5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 10 * 3600]
"""Seconds until the next try after the n-th failure; with the first try that makes 8 (reference §2.9)."""
MAX_FAILING = timedelta(days=5)
"""An endpoint without a successful answer for this long is disabled."""
WARN_EVERY = timedelta(days=3)
PAUSE = timedelta(seconds=5)
MAX_PAUSE = timedelta(hours=1)


@dataclass(frozen=True)
class AttemptOutcome:
    """The outcome of one attempt. `status`: the HTTP status, None without an answer. `wait`: the seconds of Retry-After."""

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


def record(db: ScopedSession, endpoint_id: str, outcomes: list[AttemptOutcome], gone: list[str]) -> timedelta | None:
    """Record attempts. `gone`: deliveries whose object no longer exists. Return how long to pause the endpoint."""
    endpoint = db.scalar(select(Endpoint).where(Endpoint.id == endpoint_id).with_for_update())
    if endpoint is None:
        return None
    ids = [*gone, *(item.delivery_id for item in outcomes)]
    rows = {row.id: row for row in db.scalars(select(Delivery).where(Delivery.id.in_(ids)).with_for_update())}
    for item in gone:
        _settle(rows[item], "dropped")
    for outcome in outcomes:
        _attempt(db, rows[outcome.delivery_id], outcome)
    real = [item for item in outcomes if not rows[item.delivery_id].data.get("test")]
    _update_health(db, endpoint, real)
    db.flush()
    _warn(db, endpoint, [row for item in real if (row := rows[item.delivery_id]).state == "failed"])
    if not endpoint.disabled:
        waiting = select(func.min(Delivery.due_at)).where(Delivery.endpoint_id == endpoint.id, Delivery.state == "pending")
        endpoint.due_at = db.scalar(waiting)
    return _pause(outcomes)


def _attempt(db: ScopedSession, row: Delivery, outcome: AttemptOutcome) -> None:
    row.attempts += 1
    db.add(
        Attempt(
            business_id=row.business_id,
            id=new_id("wha"),
            delivery_id=row.id,
            number=row.attempts,
            at=outcome.at,
            status=outcome.status,
            error=outcome.error,
            duration_ms=outcome.duration_ms,
            request=outcome.request,
            response=outcome.response,
        )
    )
    row.last_status = outcome.status
    if row.state not in ("pending", "held"):
        return  # another worker sent it after our lease ended: the receiver has it twice, under one message id
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


def _update_health(db: ScopedSession, endpoint: Endpoint, outcomes: list[AttemptOutcome]) -> None:
    if not outcomes or endpoint.disabled:
        return
    if any(outcome.is_good for outcome in outcomes):
        endpoint.failing_since = None
    elif endpoint.failing_since is None:
        endpoint.failing_since = outcomes[0].at
    reason = (
        "gone"
        if any(outcome.status == 410 for outcome in outcomes)
        else "failing"
        if endpoint.failing_since and outcomes[-1].at - endpoint.failing_since > MAX_FAILING
        else None
    )
    if reason:
        db.flush()
        switch_off(db, endpoint, reason)
        emit(
            db,
            "webhook_endpoint.switched_off",
            business_id=endpoint.business_id,
            noun=endpoint.id,
            data={"why": reason, "host": host_of(endpoint), "since": (endpoint.failing_since or clock.wall()).isoformat()},
        )


def _warn(db: ScopedSession, endpoint: Endpoint, failed: list[Delivery]) -> None:
    """Warn the owners about the first delivery that failed for good. Further failures within three days send no email."""
    if not failed or endpoint.disabled:
        return
    others = select(Delivery.id).where(
        Delivery.endpoint_id == endpoint.id,
        Delivery.state == "failed",
        Delivery.id.not_in([row.id for row in failed]),
        Delivery.tries > 1,
        Delivery.created_at > failed[0].created_at - WARN_EVERY,
    )  # excludes tests, which have one try
    if db.scalar(others.limit(1)) is None:
        emit(
            db,
            "webhook_endpoint.failing",
            business_id=endpoint.business_id,
            noun=endpoint.id,
            data={"host": host_of(endpoint), "type": failed[0].type, "delivery_id": failed[0].id, "status": failed[0].last_status},
        )


def _pause(outcomes: list[AttemptOutcome]) -> timedelta | None:
    """Return the pause that the endpoint requested, or a short one if no request was answered, so that others come first."""
    requested = max((outcome.wait for outcome in outcomes if outcome.status in (429, 503)), default=0)
    if requested:
        return min(timedelta(seconds=requested), MAX_PAUSE)
    return PAUSE if outcomes and all(outcome.status is None for outcome in outcomes) else None
