"""Waiting work and its age. Sessions have the scope `everything`; times are by the wall clock unless noted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import case, func, select

from core import clock
from core.db import ScopedSession
from core.models import mapped
from core.outbox import Outbox

LANES = 20
OPEN = ("pending", "mail")
"""States of work that workers still claim."""


@dataclass(frozen=True)
class Queue:
    """`waiting`: unfinished rows. `due`: those that are due now. `oldest_due_at`: due time of the oldest."""

    name: str
    waiting: int
    due: int
    oldest_due_at: datetime | None


@dataclass(frozen=True)
class WebhookBacklog:
    """Undelivered messages of a business."""

    business_id: str
    endpoints: int
    failing_endpoints: int
    waiting: int
    oldest_due_at: datetime | None


def work(db: ScopedSession) -> Queue:
    """Return the whole work queue."""
    waiting, due, oldest = db.execute(select(*_columns(Outbox.due_at)).where(Outbox.state.in_(OPEN))).one()
    return _queue("work", waiting, due, oldest)


def lanes(db: ScopedSession, limit: int = LANES) -> list[Queue]:
    """Return the work queue by lane, the longest waiting first. A lane is a business id or the first word of an event type."""
    query = select(Outbox.lane, *_columns(Outbox.due_at)).where(Outbox.state.in_(OPEN)).group_by(Outbox.lane)
    rows = db.execute(query.order_by(func.min(Outbox.due_at), Outbox.lane).limit(limit))
    return [_queue(lane, waiting, due, oldest) for lane, waiting, due, oldest in rows]


def others(db: ScopedSession) -> list[Queue]:
    """Return the other queues: messages, logouts, exports, payments with unknown outcome."""
    payment, refund, act = mapped("payments"), mapped("refunds"), mapped("delegated_actions")
    app, session = mapped("apps"), mapped("app_sessions")
    person, customers = mapped("person_exports"), mapped("customer_exports")
    wanted = (
        ("payments", payment.check_at, (payment.is_open.is_(True),)),
        ("refunds", refund.check_at, (refund.status == "pending",)),
        ("delegated actions", act.check_at, (act.status == "pending",)),
        (
            "app logouts",
            session.logout_due_at,
            (
                session.logout_due_at.is_not(None),
                session.business_id == app.business_id,
                session.app_id == app.id,
                app.backchannel_uri.is_not(None),
            ),
        ),
        ("people's exports", person.created_at, (person.finished_at.is_(None),)),
        ("customer exports", customers.created_at, (customers.finished_at.is_(None),)),
    )
    messages = _messages()
    sums = func.coalesce(func.sum(messages.c.waiting), 0), func.coalesce(func.sum(messages.c.due), 0), func.min(messages.c.oldest)
    return [
        _queue("webhooks", *db.execute(select(*sums)).one()),
        *(_queue(name, *db.execute(select(*_columns(due_at)).where(*which)).one()) for name, due_at, which in wanted),
    ]


def webhooks(db: ScopedSession) -> list[WebhookBacklog]:
    """Return businesses with waiting messages or a failing endpoint, the longest waiting first."""
    endpoint, waits = mapped("webhook_endpoints"), _messages()
    failing = case((endpoint.failing_since.is_not(None), 1), else_=0)
    query = (
        select(
            endpoint.business_id,
            func.count(endpoint.id),
            func.sum(failing),
            func.coalesce(func.sum(waits.c.waiting), 0),
            func.min(waits.c.oldest),
        )
        .outerjoin(waits, (waits.c.business_id == endpoint.business_id) & (waits.c.endpoint_id == endpoint.id))
        .where(endpoint.removed_at.is_(None), endpoint.disabled.is_(False))
        .group_by(endpoint.business_id)
        .having((func.sum(failing) > 0) | (func.sum(waits.c.waiting) > 0))
        .order_by(func.min(waits.c.oldest), endpoint.business_id)
        .limit(LANES)
    )
    return [
        WebhookBacklog(business_id, int(count), int(bad), int(waiting), oldest)
        for business_id, count, bad, waiting, oldest in db.execute(query)
    ]


def exceptions(db: ScopedSession) -> list[tuple[str, int, datetime]]:
    """Return (business id, number of open reconciliation exceptions, start of the oldest), largest first."""
    row = mapped("reconciliation_exceptions")
    query = (
        select(row.business_id, func.count(row.id), func.min(row.noted_at))
        .where(row.closed_at.is_(None))
        .group_by(row.business_id)
        .order_by(func.count(row.id).desc(), row.business_id)
        .limit(LANES)
    )
    return [(business_id, int(count), oldest) for business_id, count, oldest in db.execute(query)]


def _messages() -> Any:
    """Return waiting messages by endpoint. Reads the index per endpoint, so that the many delivered messages are not read."""
    endpoint, delivery = mapped("webhook_endpoints"), mapped("webhook_deliveries")
    mine = (delivery.business_id == endpoint.business_id, delivery.endpoint_id == endpoint.id, delivery.state == "pending")

    def of(value: Any, *more: Any) -> Any:
        return select(value).where(*mine, *more).correlate(endpoint).scalar_subquery()

    is_due = delivery.due_at <= clock.wall()
    return (
        select(
            endpoint.business_id,
            endpoint.id.label("endpoint_id"),
            of(func.count(delivery.id)).label("waiting"),
            of(func.count(delivery.id), is_due).label("due"),
            of(func.min(delivery.due_at), is_due).label("oldest"),
        )
        .where(endpoint.due_at.is_not(None))
        .subquery()
    )


def _columns(due_at: Any) -> tuple[Any, ...]:
    is_due = due_at <= clock.wall()
    return func.count(), func.coalesce(func.sum(case((is_due, 1), else_=0)), 0), func.min(case((is_due, due_at)))


def _queue(name: str, waiting: int, due: int, oldest: Any) -> Queue:
    return Queue(name, int(waiting), int(due), oldest)
