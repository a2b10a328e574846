"""WebhookDetails (reference §2.9). A null `filter_types` means every type, a null `rate_limit` means no limit."""

from __future__ import annotations

from tenants.api.shapes import Shape, Stamp
from tenants.webhooks.models import Endpoint


class WebhookShape(Shape):
    """A webhook. A null `filter_types` means every event type; a null `rate_limit` means no limit."""

    id: str
    created_at: Stamp
    description: str
    metadata: dict[str, str]
    updated_at: Stamp
    url: str
    disabled: bool
    filter_types: list[str] | None
    rate_limit: int | None

    @classmethod
    def of(cls, row: Endpoint) -> WebhookShape:
        return cls(
            id=row.id, created_at=row.created_at, description=row.description, metadata=row.meta or {}, updated_at=row.updated_at,
            url=row.url, disabled=row.disabled, filter_types=row.filter_types or None, rate_limit=row.rate_limit,
        )  # fmt: skip


class WebhookList(Shape):
    data: list[WebhookShape]
    done: bool
    iterator: str | None
    prev_iterator: str | None


class WebhookSecret(Shape):
    secret: str


class WebhookHeaders(Shape):
    """Custom headers. `sensitive` names the headers whose values are not returned."""

    headers: dict[str, str]
    sensitive: list[str]
