"""Where the calling business's events are sent (reference §2.9). How they are sent: tenants/webhooks/."""

from __future__ import annotations

from typing import Annotated

from flask import jsonify
from flask.typing import ResponseReturnValue
from pydantic import Field, StringConstraints

from core.errors import Forbidden
from core.web import db, house
from tenants.api.door import bp, caller
from tenants.api.reading import Body, Query, body, query
from tenants.api.saying import says
from tenants.api.shapes import one
from tenants.api.shapes.webhooks import WebhookHeaders, WebhookList, WebhookSecret, WebhookShape
from tenants.webhooks import endpoints, sealing

Url = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
Description = Annotated[str, StringConstraints(max_length=500)]
Types = Annotated[list[Annotated[str, StringConstraints(max_length=80)]], Field(max_length=100)]
Words = Annotated[
    dict[Annotated[str, StringConstraints(max_length=40)], Annotated[str, StringConstraints(max_length=500)]], Field(max_length=50)
]
Headers = Annotated[dict[str, str], Field(max_length=20)]
Rate = Annotated[int, Field(ge=1, le=1000)]


class NewWebhook(Body):
    url: Url
    description: Description | None = None
    disabled: bool | None = None
    filter_types: Types | None = None
    headers: Headers | None = None
    idempotency_key: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    metadata: Words | None = None
    rate_limit: Rate | None = None


class WebhookChange(Body):
    url: Url | None = None
    description: Description | None = None
    disabled: bool | None = None
    filter_types: Types | None = None
    metadata: Words | None = None
    rate_limit: Rate | None = None


class NewHeaders(Body):
    headers: Headers


class WebhookQuery(Query):
    limit: Annotated[int, Field(ge=1, le=250)] = 50
    iterator: Annotated[str, StringConstraints(max_length=100)] | None = None


@bp.post("/webhooks", endpoint="create_webhook")
@says(WebhookShape, takes=NewWebhook)
def create() -> ResponseReturnValue:
    sent = body(NewWebhook)
    row = endpoints.create(
        db(), house().outgoing, caller().business_id, sent.url, description=sent.description or "", filter_types=sent.filter_types,
        disabled=bool(sent.disabled), headers=sent.headers, metadata=sent.metadata, rate_limit=sent.rate_limit,
        idempotency_key=sent.idempotency_key,
    )  # fmt: skip
    return one(WebhookShape.of(row))


@bp.get("/webhooks", endpoint="webhooks")
@says(WebhookList, asks=WebhookQuery)
def index() -> ResponseReturnValue:
    asked = query(WebhookQuery)
    rows, done = endpoints.page(db(), asked.limit, asked.iterator or None)
    last = rows[-1].id if rows else asked.iterator
    return jsonify(data=[WebhookShape.of(row).json() for row in rows], done=done, iterator=last, prev_iterator=None)


@bp.get("/webhooks/<webhook_id>", endpoint="webhook")
@says(WebhookShape)
def show(webhook_id: str) -> ResponseReturnValue:
    return one(WebhookShape.of(endpoints.find(db(), webhook_id)))


@bp.patch("/webhooks/<webhook_id>", endpoint="change_webhook")
@says(WebhookShape, takes=WebhookChange)
def change(webhook_id: str) -> ResponseReturnValue:
    """What is not named stays; `filter_types` and `rate_limit` of null take the restriction away."""
    endpoints.find(db(), webhook_id)
    return one(WebhookShape.of(endpoints.change(db(), house().outgoing, webhook_id, **body(WebhookChange).model_dump(exclude_unset=True))))


@bp.delete("/webhooks/<webhook_id>", endpoint="delete_webhook")
@says(status=204)
def delete(webhook_id: str) -> ResponseReturnValue:
    endpoints.remove(db(), webhook_id)
    return "", 204


@bp.get("/webhooks/<webhook_id>/secret", endpoint="webhook_secret")
@says(WebhookSecret)
def secret(webhook_id: str) -> ResponseReturnValue:
    """Whoever has it can write events that look like ours, so a key that may only read does not get it."""
    row = endpoints.find(db(), webhook_id)
    if caller().read_only:
        raise Forbidden(sentence="This API key may only read what others may see.")
    return jsonify(secret=sealing.secret_of(house().settings, row))


@bp.get("/webhooks/<webhook_id>/headers", endpoint="webhook_headers")
@says(WebhookHeaders)
def headers(webhook_id: str) -> ResponseReturnValue:
    """Headers whose name speaks of a secret are named without their value."""
    found = sealing.headers_of(house().settings, endpoints.find(db(), webhook_id))
    hidden = [name for name in found if endpoints.SENSITIVE.fullmatch(name)]
    return jsonify(headers={name: value for name, value in found.items() if name not in hidden}, sensitive=hidden)


@bp.patch("/webhooks/<webhook_id>/headers", endpoint="change_webhook_headers")
@says(status=204, takes=NewHeaders)
def change_headers(webhook_id: str) -> ResponseReturnValue:
    endpoints.find(db(), webhook_id)
    endpoints.change_headers(db(), house().settings, webhook_id, body(NewHeaders).headers)
    return "", 204
