"""Metrics for operators: webhooks that wait to be sent, and endpoints by state."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from prometheus_client.metrics_core import Metric
from sqlalchemy import case, func, select

from core import clock
from core.db import ScopedSession
from core.metrics.snapshot import COUNTED, Snapshot, gauge
from tenants.webhooks.models import Delivery, Endpoint


def register(metrics: Snapshot) -> None:
    metrics.add_queue("webhooks", _due)
    metrics.add("webhooks", _endpoints)


def _due(db: ScopedSession) -> tuple[int, datetime | None]:
    """Return how many deliveries are due, and since when. Joins the due endpoints, which are few and indexed."""
    at = clock.wall()
    rows = (
        select(Delivery.due_at.label("at"))
        .join(Endpoint, (Endpoint.business_id == Delivery.business_id) & (Endpoint.id == Delivery.endpoint_id))
        .where(
            Endpoint.due_at <= at,
            Endpoint.disabled.is_(False),
            Endpoint.removed_at.is_(None),
            Delivery.state == "pending",
            Delivery.due_at <= at,
        )
        .limit(COUNTED)
        .subquery()
    )
    count, oldest = db.execute(select(func.count(), func.min(rows.c.at)).select_from(rows)).one()
    return count, oldest


def _endpoints(db: ScopedSession) -> Iterator[Metric]:
    found = {"healthy": 0.0, "failing": 0.0, "disabled": 0.0}
    state = case((Endpoint.disabled, "disabled"), (Endpoint.failing_since.is_not(None), "failing"), else_="healthy").label("state")
    rows = select(state).where(Endpoint.removed_at.is_(None)).limit(COUNTED).subquery()
    for name, count in db.execute(select(rows.c.state, func.count()).group_by(rows.c.state)):
        found[name] = count
    yield gauge("portal_webhook_endpoints", "Webhook endpoints by state", found, "state")
