"""Webhook endpoints of the calling business (reference §2.9). Events are sent by tenants/webhooks/."""

from __future__ import annotations

from typing import Annotated

from flask import jsonify
from flask.typing import ResponseReturnValue
from pydantic import Field, StringConstraints

from core.errors import Forbidden
from core.request_context import db, services
from tenants.api.authentication import bp, caller
from tenants.api.request_parsing import Body, Query, body, query
from tenants.api.route_spec import route_spec
from tenants.api.shapes import json_response
from tenants.api.shapes.webhooks import WebhookHeaders, WebhookList, WebhookSecret, WebhookShape
from tenants.webhooks import endpoints, secrets

Url = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
Description = Annotated[str, StringConstraints(max_length=500)]
Types = Annotated[list[Annotated[str, StringConstraints(max_length=80)]], Field(max_length=100)]
WebhookMetadata = Annotated[
    dict[Annotated[str, StringConstraints(max_length=40)], Annotated[str, StringConstraints(max_length=500)]], Field(max_length=50)
]
Headers = Annotated[dict[str, str], Field(max_length=20)]
Rate = Annotated[int, Field(ge=1, le=1000)]


class NewWebhook(Body):
    """A new webhook. Without `filter_types` it receives every event type. `rate_limit` is in messages per second."""

    url: Url
    description: Description | None = None
    disabled: bool | None = None
    filter_types: Types | None = None
    headers: Headers | None = None
    idempotency_key: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    metadata: WebhookMetadata | None = None
    rate_limit: Rate | None = None


class WebhookChange(Body):
    url: Url | None = None
    description: Description | None = None
    disabled: bool | None = None
    filter_types: Types | None = None
    metadata: WebhookMetadata | None = None
    rate_limit: Rate | None = None


class NewHeaders(Body):
    headers: Headers


class WebhookQuery(Query):
    limit: Annotated[int, Field(ge=1, le=250)] = 50
    iterator: Annotated[str, StringConstraints(max_length=100)] | None = None


@bp.post("/webhooks", endpoint="create_webhook")
@route_spec(WebhookShape, body=NewWebhook)
def create() -> ResponseReturnValue:
    """Create a webhook. A second call with the same `idempotency_key` returns the same webhook."""
    sent = body(NewWebhook)
    row = endpoints.create(
        db(), services().outgoing, caller().business_id, sent.url, description=sent.description or "", filter_types=sent.filter_types,
        disabled=bool(sent.disabled), headers=sent.headers, metadata=sent.metadata, rate_limit=sent.rate_limit,
        idempotency_key=sent.idempotency_key,
    )  # fmt: skip
    return json_response(WebhookShape.of(row))


@bp.get("/webhooks", endpoint="webhooks")
@route_spec(WebhookList, query=WebhookQuery)
def index() -> ResponseReturnValue:
    """List webhooks, oldest first. Send `iterator` of the answer to get the next page."""
    params = query(WebhookQuery)
    rows, done = endpoints.page(db(), params.limit, params.iterator or None)
    last = rows[-1].id if rows else params.iterator
    return jsonify(data=[WebhookShape.of(row).json() for row in rows], done=done, iterator=last, prev_iterator=None)


@bp.get("/webhooks/<webhook_id>", endpoint="webhook")
@route_spec(WebhookShape)
def show(webhook_id: str) -> ResponseReturnValue:
    """Return a webhook."""
    return json_response(WebhookShape.of(endpoints.find(db(), webhook_id)))


@bp.patch("/webhooks/<webhook_id>", endpoint="change_webhook")
@route_spec(WebhookShape, body=WebhookChange)
def change(webhook_id: str) -> ResponseReturnValue:
    """Update a webhook. Fields that are not sent stay unchanged; null removes `filter_types` and `rate_limit`."""
    endpoints.find(db(), webhook_id)
    return json_response(
        WebhookShape.of(endpoints.change(db(), services().outgoing, webhook_id, **body(WebhookChange).model_dump(exclude_unset=True)))
    )


@bp.delete("/webhooks/<webhook_id>", endpoint="delete_webhook")
@route_spec(status=204)
def delete(webhook_id: str) -> ResponseReturnValue:
    """Delete a webhook. Nothing more is sent to it."""
    endpoints.remove(db(), webhook_id)
    return "", 204


@bp.get("/webhooks/<webhook_id>/secret", endpoint="webhook_secret")
@route_spec(WebhookSecret)
def secret(webhook_id: str) -> ResponseReturnValue:
    """Return the signing secret of a webhook. Read-only API keys are refused, because the secret allows forging events."""
    row = endpoints.find(db(), webhook_id)
    if caller().read_only:
        raise Forbidden(sentence="A read-only API key cannot read signing secrets.")
    return jsonify(secret=secrets.secret_of(services().settings, row))


@bp.get("/webhooks/<webhook_id>/headers", endpoint="webhook_headers")
@route_spec(WebhookHeaders)
def headers(webhook_id: str) -> ResponseReturnValue:
    """Return the custom headers of a webhook. The values of headers that may hold secrets are not returned."""
    found = secrets.headers_of(services().settings, endpoints.find(db(), webhook_id))
    hidden = [name for name in found if endpoints.SENSITIVE.fullmatch(name)]
    return jsonify(headers={name: value for name, value in found.items() if name not in hidden}, sensitive=hidden)


@bp.patch("/webhooks/<webhook_id>/headers", endpoint="change_webhook_headers")
@route_spec(status=204, body=NewHeaders)
def change_headers(webhook_id: str) -> ResponseReturnValue:
    """Add or replace custom headers of a webhook. An empty value removes a header."""
    endpoints.find(db(), webhook_id)
    endpoints.change_headers(db(), services().settings, webhook_id, body(NewHeaders).headers)
    return "", 204
