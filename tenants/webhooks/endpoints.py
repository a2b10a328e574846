"""Creates, changes, enables, disables and removes the endpoints of a business. Every function takes a session of that business."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import and_, or_, select, update

from core import clock
from core.db import ScopedSession
from core.errors import N_, Conflict, Invalid, NotFound
from core.ids import new_id
from core.outbox import emit
from core.outgoing import Outgoing, RequestRefused
from core.settings import Settings
from tenants.webhooks import secrets
from tenants.webhooks.event_types import KNOWN
from tenants.webhooks.models import Delivery, Endpoint

MAX_ENDPOINTS = 50
RESERVED = re.compile(
    r"(?i)webhook-.*|host|content-.*|connection|transfer-encoding|te|trailer|upgrade|expect|cookie|accept-encoding|"
    r"proxy-.*|forwarded|x-forwarded-.*"
)
SENSITIVE = re.compile(r"(?i).*(auth|key|token|secret|password|signature|cookie).*")
_NAME, _VALUE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,80}"), re.compile(r"[\x20-\x7e]{0,1000}")
_URL_ERRORS = {
    "scheme": N_("The URL must begin with https://."),
    "not_public": N_("This address is not on the public internet."),
    "userinfo": N_("Remove the user name and password from the URL. Use a header instead."),
}


def create(
    db: ScopedSession, outgoing: Outgoing, business_id: str, url: str, *, description: str = "", filter_types: list[str] | None = None,
    disabled: bool = False, headers: dict[str, str] | None = None, metadata: dict[str, str] | None = None, rate_limit: int | None = None,
    idempotency_key: str | None = None,
) -> Endpoint:  # fmt: skip
    """Create an endpoint with a new secret. A repeated `idempotency_key` returns the same endpoint. Raises Invalid, Conflict (too many)."""
    if idempotency_key:
        found = db.scalar(select(Endpoint).where(Endpoint.idempotency_key == idempotency_key))
        if found is not None:
            return found
    if len(list(db.scalars(select(Endpoint.id).where(Endpoint.removed_at.is_(None)).limit(MAX_ENDPOINTS)))) >= MAX_ENDPOINTS:
        raise Conflict("LIMIT_REACHED", f"A business can have at most {MAX_ENDPOINTS} webhooks.")
    at, item = clock.wall(), new_id("whk")
    row = Endpoint(
        business_id=business_id, id=item, url=checked_url(outgoing, url), description=description, filter_types=checked_types(filter_types),
        disabled=disabled, disabled_at=at if disabled else None, disabled_why="asked" if disabled else None, old_secrets=[],
        secret=secrets.sealed(outgoing.settings, item, secrets.new_secret()), meta=metadata or {}, rate_limit=checked_rate(rate_limit),
        idempotency_key=idempotency_key, fence=0, created_at=at, updated_at=at,
    )  # fmt: skip
    secrets.seal_headers(outgoing.settings, row, checked_headers(headers or {}))
    db.add(row)
    emit(db, "webhook_endpoint.created", business_id=business_id, noun=item, data={"host": host_of(row)})
    return row


def change(db: ScopedSession, outgoing: Outgoing, endpoint_id: str, **changes: Any) -> Endpoint:
    """Change an endpoint. Raises NotFound, Invalid.

    `changes`: url, description, filter_types, disabled, metadata, rate_limit. None means unchanged; for `filter_types` and `rate_limit`
    it means no restriction.
    """
    row, at = find(db, endpoint_id, lock=True), clock.wall()
    if changes.get("url") is not None:
        row.url = checked_url(outgoing, changes["url"])
    if "filter_types" in changes:
        row.filter_types = checked_types(changes["filter_types"])
    if "rate_limit" in changes:
        row.rate_limit = checked_rate(changes["rate_limit"])
    if changes.get("description") is not None:
        row.description = changes["description"]
    if changes.get("metadata") is not None:
        row.meta = changes["metadata"]
    if changes.get("disabled") is not None and changes["disabled"] != row.disabled:
        switch_off(db, row, "asked") if changes["disabled"] else switch_on(row)
    secrets.renew(outgoing.settings, row)
    row.updated_at = at
    emit(db, "webhook_endpoint.updated", business_id=row.business_id, noun=row.id, data={"fields": sorted(changes)})
    return row


def change_headers(db: ScopedSession, settings: Settings, endpoint_id: str, headers: dict[str, str]) -> Endpoint:
    """Add or replace headers. An empty value removes a header. Raises NotFound, Invalid."""
    row = find(db, endpoint_id, lock=True)
    known = {name.lower(): (name, value) for name, value in secrets.headers_of(settings, row).items()}
    known |= {name.lower(): (name, value) for name, value in headers.items()}
    secrets.seal_headers(settings, row, checked_headers({name: value for name, value in known.values() if value}))
    row.updated_at = clock.wall()
    emit(db, "webhook_endpoint.updated", business_id=row.business_id, noun=row.id, data={"fields": ["headers"]})
    return row


def rotate_secret(db: ScopedSession, settings: Settings, endpoint_id: str) -> str:
    """Return a new secret. For 24 hours, messages are signed with the old secret as well. Raises NotFound."""
    row = find(db, endpoint_id, lock=True)
    fresh = secrets.rotate(settings, row)
    emit(db, "webhook_endpoint.secret_rotated", business_id=row.business_id, noun=row.id)
    return fresh


def remove(db: ScopedSession, endpoint_id: str) -> None:
    """Remove an endpoint. Its deliveries stay readable for 30 days. Raises NotFound."""
    row = find(db, endpoint_id, lock=True)
    switch_off(db, row, "asked")
    row.removed_at = clock.wall()
    row.secret, row.old_secrets, row.headers, row.idempotency_key = "", [], None, None
    emit(db, "webhook_endpoint.removed", business_id=row.business_id, noun=row.id, data={"host": host_of(row)})


def switch_off(db: ScopedSession, row: Endpoint, reason: str) -> None:
    """Disable an endpoint, whose row is locked. Pending deliveries become held; `history.replay_since` can send them later."""
    row.disabled, row.disabled_at, row.disabled_why, row.due_at = True, clock.wall(), reason, None
    db.execute(update(Delivery).where(Delivery.endpoint_id == row.id, Delivery.state == "pending").values(state="held", due_at=None))


def switch_on(row: Endpoint) -> None:
    row.disabled, row.disabled_at, row.disabled_why, row.failing_since = False, None, None, None


def find(db: ScopedSession, endpoint_id: str, lock: bool = False) -> Endpoint:
    """Return an endpoint. Raises NotFound, also for a removed one."""
    query = select(Endpoint).where(Endpoint.id == endpoint_id, Endpoint.removed_at.is_(None))
    row = db.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise NotFound(sentence=f"The webhook {endpoint_id[:80]} does not exist.")
    return row


def page(db: ScopedSession, limit: int, after: str | None = None) -> tuple[list[Endpoint], bool]:
    """Return (endpoints, oldest first; whether this is the last page). `after`: the id of the last endpoint seen.

    Raises Invalid for an unknown id.
    """
    query = select(Endpoint).where(Endpoint.removed_at.is_(None))
    if after is not None:
        last = db.scalar(select(Endpoint).where(Endpoint.id == after))
        if last is None:
            raise Invalid("INVALID_QUERY_PARAMS", "iterator: this value is not valid.", fields={"iterator": "This value is not valid."})
        later = and_(Endpoint.created_at == last.created_at, Endpoint.id > last.id)
        query = query.where(or_(Endpoint.created_at > last.created_at, later))
    rows = list(db.scalars(query.order_by(Endpoint.created_at, Endpoint.id).limit(limit + 1)))
    return rows[:limit], len(rows) <= limit


def host_of(row: Endpoint) -> str:
    """Return the host of the URL. The rest is not shown to others, because it may contain a secret."""
    return urlsplit(row.url).hostname or ""


def checked_url(outgoing: Outgoing, url: str) -> str:
    try:
        if len(url) > 2000:
            raise RequestRefused("url", "too long")
        outgoing.check(url)
    except RequestRefused as refused:
        message = _URL_ERRORS.get(refused.code) or str(refused)[:1].upper() + str(refused)[1:] + "."
        raise Invalid(sentence=f"url: {message}", fields={"url": message}) from refused
    return url


def checked_types(types: list[str] | None) -> list[str]:
    unknown = sorted(set(types or []) - set(KNOWN))
    if unknown:
        fields = {"filter_types": N_("This event type does not exist.")}
        raise Invalid(sentence=f"filter_types: {unknown[0][:80]} is not an event type.", fields=fields)
    return [item for item in KNOWN if item in (types or [])]


def checked_rate(limit: int | None) -> int | None:
    if limit is not None and not 1 <= limit <= 1000:
        raise Invalid(sentence="rate_limit: must be from 1 to 1000 messages per second.", fields={"rate_limit": N_("From 1 to 1000.")})
    return limit


def checked_headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or RESERVED.fullmatch(name) or not _VALUE.fullmatch(value):
            raise Invalid(sentence=f"headers: {name[:80]!r} cannot be sent.", fields={"headers": f"{name[:80]} cannot be sent."})
    if len(headers) > 20:
        raise Invalid(sentence="headers: at most 20 headers are allowed.", fields={"headers": "At most 20 headers are allowed."})
    return headers
