"""Endpoints of a business: added, changed, switched on and off, taken away. Every function takes a session of that business."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import and_, or_, select, update

from core import clock
from core.db import ScopedSession
from core.errors import Conflict, Invalid, NotFound
from core.ids import new_id
from core.outbox import emit
from core.outgoing import Outgoing, Refused
from core.settings import Settings
from tenants.webhooks import sealing
from tenants.webhooks.kinds import KNOWN
from tenants.webhooks.tables import Delivery, Endpoint

MOST = 50
RESERVED = re.compile(r"(?i)webhook-.*|host|content-.*|connection|transfer-encoding|te|trailer|upgrade|expect|cookie|accept-encoding|"
                      r"proxy-.*|forwarded|x-forwarded-.*")
SENSITIVE = re.compile(r"(?i).*(auth|key|token|secret|password|signature|cookie).*")
_NAME, _VALUE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,80}"), re.compile(r"[\x20-\x7e]{0,1000}")
_WORDS = {"scheme": "This has to begin with https://.", "not_public": "This address is not on the public internet.",
          "userinfo": "Leave the name and password out of the address; use a header instead."}


def create(
    db: ScopedSession, outgoing: Outgoing, business_id: str, url: str, *, description: str = "", filter_types: list[str] | None = None,
    disabled: bool = False, headers: dict[str, str] | None = None, metadata: dict[str, str] | None = None, rate_limit: int | None = None,
    idempotency_key: str | None = None,
) -> Endpoint:  # fmt: skip
    """Its secret is made here. The same `idempotency_key` again gives the same endpoint. Raises Invalid, Conflict (too many)."""
    if idempotency_key:
        found = db.scalar(select(Endpoint).where(Endpoint.idempotency_key == idempotency_key))
        if found is not None:
            return found
    if len(list(db.scalars(select(Endpoint.id).where(Endpoint.removed_at.is_(None)).limit(MOST)))) >= MOST:
        raise Conflict("LIMIT_REACHED", f"A business has {MOST} webhooks at most.")
    at, one = clock.wall(), new_id("whk")
    row = Endpoint(
        business_id=business_id, id=one, url=checked_url(outgoing, url), description=description, filter_types=checked_types(filter_types),
        disabled=disabled, disabled_at=at if disabled else None, disabled_why="asked" if disabled else None, old_secrets=[],
        secret=sealing.sealed(outgoing.settings, one, sealing.new_secret()), meta=metadata or {}, rate_limit=checked_rate(rate_limit),
        idempotency_key=idempotency_key, fence=0, created_at=at, updated_at=at,
    )  # fmt: skip
    sealing.seal_headers(outgoing.settings, row, checked_headers(headers or {}))
    db.add(row)
    emit(db, "webhook_endpoint.created", business_id=business_id, noun=one, data={"host": host_of(row)})
    return row


def change(db: ScopedSession, outgoing: Outgoing, endpoint_id: str, **changes: Any) -> Endpoint:
    """`changes`: url, description, filter_types, disabled, metadata, rate_limit; None where nothing shall be said of it
    (for `filter_types`, `rate_limit`: no restriction). Raises NotFound, Invalid."""
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
    sealing.renew(outgoing.settings, row)
    row.updated_at = at
    emit(db, "webhook_endpoint.updated", business_id=row.business_id, noun=row.id, data={"fields": sorted(changes)})
    return row


def change_headers(db: ScopedSession, settings: Settings, endpoint_id: str, headers: dict[str, str]) -> Endpoint:
    """Add or replace headers; an empty value takes one away. Raises NotFound, Invalid."""
    row = find(db, endpoint_id, lock=True)
    known = {name.lower(): (name, value) for name, value in sealing.headers_of(settings, row).items()}
    known |= {name.lower(): (name, value) for name, value in headers.items()}
    sealing.seal_headers(settings, row, checked_headers({name: value for name, value in known.values() if value}))
    row.updated_at = clock.wall()
    emit(db, "webhook_endpoint.updated", business_id=row.business_id, noun=row.id, data={"fields": ["headers"]})
    return row


def rotate_secret(db: ScopedSession, settings: Settings, endpoint_id: str) -> str:
    """The new secret. What is sent is signed with the old one as well for 24 hours. Raises NotFound."""
    row = find(db, endpoint_id, lock=True)
    fresh = sealing.rotate(settings, row)
    emit(db, "webhook_endpoint.secret_rotated", business_id=row.business_id, noun=row.id)
    return fresh


def remove(db: ScopedSession, endpoint_id: str) -> None:
    """Nothing is sent there any more; what was sent stays readable until it is swept. Raises NotFound."""
    row = find(db, endpoint_id, lock=True)
    switch_off(db, row, "asked")
    row.removed_at = clock.wall()
    row.secret, row.old_secrets, row.headers, row.idempotency_key = "", [], None, None
    emit(db, "webhook_endpoint.removed", business_id=row.business_id, noun=row.id, data={"host": host_of(row)})


def switch_off(db: ScopedSession, row: Endpoint, why: str) -> None:
    """`row` is locked. What waits is held: `history.replay_since` sends it later, if somebody wants it."""
    row.disabled, row.disabled_at, row.disabled_why, row.due_at = True, clock.wall(), why, None
    db.execute(update(Delivery).where(Delivery.endpoint_id == row.id, Delivery.state == "pending").values(state="held", due_at=None))


def switch_on(row: Endpoint) -> None:
    row.disabled, row.disabled_at, row.disabled_why, row.failing_since = False, None, None, None


def find(db: ScopedSession, endpoint_id: str, lock: bool = False) -> Endpoint:
    """Raises NotFound, also for one that was taken away."""
    query = select(Endpoint).where(Endpoint.id == endpoint_id, Endpoint.removed_at.is_(None))
    row = db.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise NotFound(sentence=f"There is no webhook {endpoint_id[:80]}.")
    return row


def page(db: ScopedSession, limit: int, after: str | None = None) -> tuple[list[Endpoint], bool]:
    """(oldest first, whether these are the last ones); `after`: the id of the last one seen. Raises Invalid for another id."""
    query = select(Endpoint).where(Endpoint.removed_at.is_(None))
    if after is not None:
        last = db.scalar(select(Endpoint).where(Endpoint.id == after))
        if last is None:
            raise Invalid("INVALID_QUERY_PARAMS", "iterator: this is none of ours.", fields={"iterator": "This is none of ours."})
        later = and_(Endpoint.created_at == last.created_at, Endpoint.id > last.id)
        query = query.where(or_(Endpoint.created_at > last.created_at, later))
    rows = list(db.scalars(query.order_by(Endpoint.created_at, Endpoint.id).limit(limit + 1)))
    return rows[:limit], len(rows) <= limit


def host_of(row: Endpoint) -> str:
    """All of the address that is told to others: the rest of it may hold a secret."""
    return urlsplit(row.url).hostname or ""


def checked_url(outgoing: Outgoing, url: str) -> str:
    try:
        if len(url) > 2000:
            raise Refused("url", "too long")
        outgoing.check(url)
    except Refused as refused:
        words = _WORDS.get(refused.code) or str(refused)[:1].upper() + str(refused)[1:] + "."
        raise Invalid(sentence=f"url: {words}", fields={"url": words}) from refused
    return url


def checked_types(types: list[str] | None) -> list[str]:
    unknown = sorted(set(types or []) - set(KNOWN))
    if unknown:
        fields = {"filter_types": "There is no such event type."}
        raise Invalid(sentence=f"filter_types: {unknown[0][:80]} is no event type.", fields=fields)
    return [one for one in KNOWN if one in (types or [])]


def checked_rate(limit: int | None) -> int | None:
    if limit is not None and not 1 <= limit <= 1000:
        raise Invalid(sentence="rate_limit: from 1 to 1000 messages a second.", fields={"rate_limit": "From 1 to 1000."})
    return limit


def checked_headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or RESERVED.fullmatch(name) or not _VALUE.fullmatch(value):
            raise Invalid(sentence=f"headers: {name[:80]!r} cannot be sent.", fields={"headers": f"{name[:80]} cannot be sent."})
    if len(headers) > 20:
        raise Invalid(sentence="headers: 20 at most.", fields={"headers": "20 at most."})
    return headers
