"""Tables of webhook endpoints, deliveries and attempts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base, BusinessOwned, within_business


class Endpoint(Base, BusinessOwned):
    """A webhook endpoint. Times are real time, not billing time. Empty `filter_types`: every type. `rate_limit`: messages per second.

    `secret`, `old_secrets` and `headers` are encrypted (core/encryption.py). `due_at`: when the next delivery is due, null if none is.
    `busy_until` and `fence` are the lease of the worker that sends to the endpoint.
    """

    __tablename__ = "webhook_endpoints"
    __table_args__ = (UniqueConstraint("business_id", "idempotency_key"), Index("ix_webhook_endpoints_due", "due_at"))

    url: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    filter_types: Mapped[list[Any]] = mapped_column(default=list)
    disabled: Mapped[bool] = mapped_column(default=False)
    disabled_at: Mapped[datetime | None]
    disabled_why: Mapped[str | None]  # asked, gone (it answered 410), failing
    secret: Mapped[str]
    old_secrets: Mapped[list[Any]] = mapped_column(default=list)  # [{sealed, until}], newest first
    headers: Mapped[str | None]
    meta: Mapped[dict[str, Any]] = mapped_column(default=dict)
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
    """One message to one endpoint.

    `state`: pending, delivered, failed (after all retries), held (the endpoint is disabled), dropped (its object no longer exists).
    `tries`: attempts since the delivery was queued or replayed. `attempts`: all attempts.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        within_business("endpoint_id", "webhook_endpoints"),
        UniqueConstraint("business_id", "endpoint_id", "event_id", "type"),
        Index("ix_webhook_deliveries_due", "business_id", "endpoint_id", "state", "due_at", "id"),
        Index("ix_webhook_deliveries_listed", "business_id", "created_at", "id"),
        Index("ix_webhook_deliveries_created_at", "created_at"),
    )

    endpoint_id: Mapped[str]
    event_id: Mapped[str]
    message_id: Mapped[str]  # the header webhook-id: the same for every attempt and endpoint
    type: Mapped[str]
    noun_id: Mapped[str | None]
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)  # {payment_id} of a renewal; {test: true}
    event_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(default="pending")
    due_at: Mapped[datetime | None]
    tries: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    last_status: Mapped[int | None]
    delivered_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class Attempt(Base, BusinessOwned):
    """One HTTP request. Without an answer, `status` is null and `error` has the reason. `response`: the first 4 kB."""

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
