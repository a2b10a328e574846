"""Where events are sent, what is to be sent there, and every attempt at it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base, BusinessOwned, within_business


class Endpoint(Base, BusinessOwned):
    """All instants are the wall's. `filter_types` empty: every type. `rate_limit`: messages a second at most.

    `secret`, `old_secrets` and `headers` are sealed (core/secrets.py). `due_at`: when its next delivery is due, none: nothing
    is; `busy_until` and `fence` are the lease of the worker that is sending there.
    """

    __tablename__ = "webhook_endpoints"
    __table_args__ = (
        UniqueConstraint("business_id", "idempotency_key"),
        Index("ix_webhook_endpoints_due", "due_at"),
    )

    url: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    filter_types: Mapped[list] = mapped_column(default=list)
    disabled: Mapped[bool] = mapped_column(default=False)
    disabled_at: Mapped[datetime | None]
    disabled_why: Mapped[str | None]  # asked, gone (it answered 410), failing
    secret: Mapped[str]
    old_secrets: Mapped[list] = mapped_column(default=list)  # [{sealed, until}], newest first
    headers: Mapped[str | None]
    meta: Mapped[dict] = mapped_column(default=dict)
    rate_limit: Mapped[int | None]
    idempotency_key: Mapped[str | None]
    failing_since: Mapped[datetime | None]
    due_at: Mapped[datetime | None]
    busy_until: Mapped[datetime | None]
    fence: Mapped[int] = mapped_column(default=0)
    removed_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Delivery(Base, BusinessOwned):
    """One message to one endpoint. `state`: pending, delivered, failed (tried in vain), held (the endpoint is switched off),
    dropped (what it was about is gone). `tries`: of the present series; a replay begins a new one."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        within_business("endpoint_id", "webhook_endpoints"),
        UniqueConstraint("business_id", "endpoint_id", "event_id", "type"),
        Index("ix_webhook_deliveries_due", "business_id", "endpoint_id", "state", "due_at", "id"),
        Index("ix_webhook_deliveries_listed", "business_id", "created_at", "id"),
        Index("ix_webhook_deliveries_swept", "created_at"),
    )

    endpoint_id: Mapped[str]
    event_id: Mapped[str]
    message_id: Mapped[str]  # the header webhook-id: the same at every attempt, and at every endpoint
    type: Mapped[str]
    noun_id: Mapped[str | None]
    data: Mapped[dict] = mapped_column(default=dict)  # {payment_id} of a renewal; {test: true}
    event_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(default="pending")
    due_at: Mapped[datetime | None]
    tries: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    last_status: Mapped[int | None]
    delivered_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class Attempt(Base, BusinessOwned):
    """One request. `status` is null where no answer came; `error` then says why. `response`: its first 4 kB."""

    __tablename__ = "webhook_attempts"
    __table_args__ = (
        within_business("delivery_id", "webhook_deliveries"),
        Index("ix_webhook_attempts_delivery", "business_id", "delivery_id", "number"),
    )

    delivery_id: Mapped[str]
    number: Mapped[int]
    at: Mapped[datetime]
    status: Mapped[int | None]
    error: Mapped[str | None]
    duration_ms: Mapped[int]
    request: Mapped[str] = mapped_column(Text)
    response: Mapped[str] = mapped_column(Text)
