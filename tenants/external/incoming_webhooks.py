"""Receives webhooks of an external account: POST /incoming/dodo/<business_id>, signed with the account's secret (Standard Webhooks).

A webhook is verified, stored once under its id and answered. A lane of the business (`lanes.py`) then reads the object from the
account. Late, repeated or reordered webhooks are therefore harmless: the stored data is always what the account returns.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from sqlalchemy import delete, select
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook, WebhookVerificationError

from billing.model import bounds
from core import clock
from core.errors import BadRequest, NotFound, Unauthorized, Unavailable
from core.json_input import read_json
from core.lanes import Turn
from core.request_context import services
from core.scope import system
from core.security import csrf_exempt
from core.services import Services
from tenants.external.account import ExternalWebhook, connect, origin_of, reach, webhook_secret
from tenants.external.read_limits import ReadLimit
from tenants.external.reader import SOURCE, AccountReader
from tenants.external.resources import REFERENCE

if TYPE_CHECKING:
    from flask import Flask

MAX_BODY = 256 * 1024
KEPT = timedelta(days=30)  # longer than any sender retries
ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
MESSAGE_ID = re.compile(r"[\x21-\x7e]{1,200}")
OF = {
    "Subscription": ("subscription", "subscription_id"),
    "Payment": ("payment", "payment_id"),
    "Refund": ("refund", "refund_id"),
    "LicenseKey": ("license_key", "id"),
}
BY_TYPE = {"subscription": "Subscription", "payment": "Payment", "refund": "Refund", "license_key": "LicenseKey"}
REQUESTS, SECONDS = 40, 60.0  # limits of reading the object of one webhook

bp = Blueprint("incoming", __name__, url_prefix="/incoming")


@bp.post("/dodo/<business_id>")
@csrf_exempt
def receive(business_id: str) -> ResponseReturnValue:
    request.max_content_length = MAX_BODY
    message_id, body = request.headers.get("webhook-id", ""), request.get_data()
    if not ID.fullmatch(business_id):
        raise NotFound()
    secret = webhook_secret(services().database, services().settings, business_id, SOURCE)
    if secret is None:
        raise NotFound()
    try:
        Webhook(secret).verify(body, dict(request.headers.items(lower=True)))
    except (WebhookVerificationError, EmptyWebhookSecretError):  # the account may have set an invalid secret
        raise Unauthorized(sentence="The signature is not valid.") from None
    except (ValueError, RecursionError):  # signed but not JSON: the library parses it after checking the signature
        raise BadRequest(sentence="This is not a valid event.") from None
    kind, noun, type_ = event_of(body)
    if not MESSAGE_ID.fullmatch(message_id):
        raise BadRequest(sentence="This is not a valid event.")
    with services().database.open(system(business_id), write=True) as db:
        known = db.scalar(select(ExternalWebhook.id).where(ExternalWebhook.id == f"{SOURCE}/{message_id}").limit(1))
        if known is None:
            db.execute(delete(ExternalWebhook).where(ExternalWebhook.received_at < clock.wall() - KEPT))
            db.add(
                ExternalWebhook(
                    business_id=business_id,
                    id=f"{SOURCE}/{message_id}",
                    type=type_,
                    received_at=clock.wall(),
                    kind=kind,
                    noun=noun,
                    attempts=0,
                    due_at=clock.wall() if kind else None,
                )
            )
    for lanes in services().worker.lanes:
        lanes.wake()
    return "", 204


def event_of(body: bytes) -> tuple[str, str, str]:
    """Return (kind, id, type) of the event's object. kind and id are empty for types that are not stored.

    Raises BadRequest for invalid events: not JSON, nested too deeply, text that cannot be stored, an invalid id.
    """
    try:
        event = read_json(body)
        if not isinstance(event, dict):
            raise ValueError("not an object")
        type_ = event.get("type")
        bounds.text(type_ if isinstance(type_, str) else "")
        return (*_object_of(event), type_[:100] if isinstance(type_, str) else "")
    except (ValueError, RecursionError):
        raise BadRequest(sentence="This is not a valid event.") from None


def _object_of(event: dict[str, Any]) -> tuple[str, str]:
    data = event.get("data")
    if not isinstance(data, dict):
        return "", ""
    name = data.get("payload_type") or BY_TYPE.get(str(event.get("type")).partition(".")[0], "")
    kind, field = OF.get(name, ("", "")) if isinstance(name, str) else ("", "")
    if not kind:
        return "", ""
    noun = data.get(field)
    if not isinstance(noun, str) or not REFERENCE.fullmatch(noun):
        raise ValueError("not a valid id")
    return kind, noun


def follow(services: Services, business_id: str, kind: str, noun: str, turn: Turn) -> None:
    """Read the object of a webhook from the account and store it. Raises Unavailable if the account does not answer."""
    from dodopayments import APIError

    from tenants.external.client import failure_reason

    found = reader_of(services, business_id, retries=0)
    if found is None:
        return
    found.budget = ReadLimit(REQUESTS, SECONDS)
    try:
        learn(found, kind, noun)
    except APIError as failed:
        raise Unavailable("ELSEWHERE_UNREACHABLE", failure_reason(failed)) from None


def learn(reader: AccountReader, kind: str, id: str) -> None:
    """Read one object from the account and store it, for a payment with its subscription, whose dates it may have moved."""
    record = reader.read_record(kind, id)
    if record is None:
        return
    more = []
    if kind == "payment" and record.values["subscription_id"]:
        renewed = reader.read_record("subscription", record.values["subscription_id"])
        more = [renewed] if renewed else []
    reader.keep([*more, record])


def reader_of(services: Services, business_id: str, retries: int = 1) -> AccountReader | None:
    from tenants.external.client import client

    known = reach(services.database, services.settings, business_id, SOURCE)
    origin = origin_of(services.database, business_id, SOURCE)
    if known is None or origin is None:
        return None
    api = client(services.outgoing, known, timeout=20.0, retries=retries)
    return AccountReader(services.database, services.settings, api, business_id, origin, wait=lambda call: call())


def subscribe(services: Services, business_id: str, api: Any) -> None:
    """Subscribe to the webhooks of the account and store the secret encrypted. An existing subscription is reused."""
    url = f"{services.settings.base_url}/incoming/dodo/{business_id}"
    found = next((item.id for item in api.webhooks.list(limit=100).data if item.url == url and not item.disabled), None)
    found = found or api.webhooks.create(url=url, description="Customer portal").id
    secret = api.webhooks.retrieve_secret(found).secret
    known = reach(services.database, services.settings, business_id, SOURCE)
    assert known is not None
    with services.database.open(system(business_id), write=True) as db:
        connect(db, services.settings, business_id, SOURCE, base_url=known.base_url, api_key=known.api_key, webhook_key=secret)


def register(app: Flask, services: Services) -> None:
    app.register_blueprint(bp)
