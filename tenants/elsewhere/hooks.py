"""What the account tells us: POST /incoming/dodo/<business_id>, signed (Standard Webhooks) with that account's secret.

Verified, stored once under its id, answered; then a lane of that business (`lanes.py`) asks the account what is true. A hint that
comes late, twice or in the wrong order therefore changes nothing: what is written is what the account says when it is asked.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from sqlalchemy import delete, select
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook, WebhookVerificationError

from billing import bounds
from core import clock
from core.errors import BadRequest, NotFound, Unauthorized, Unavailable
from core.json_input import read_json
from core.lanes import Turn
from core.scope import system
from core.security import csrf_exempt
from core.web import House, house
from tenants.elsewhere.account import ElsewhereHook, connect, origin_of, reach, webhook_secret
from tenants.elsewhere.budget import Budget
from tenants.elsewhere.reader import SOURCE, Reader
from tenants.elsewhere.resources import REFERENCE

if TYPE_CHECKING:
    from flask import Flask

MAX_BODY = 256 * 1024
KEPT = timedelta(days=30)  # no sender tries for so long
ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
MESSAGE_ID = re.compile(r"[\x21-\x7e]{1,200}")
OF = {"Subscription": ("subscription", "subscription_id"), "Payment": ("payment", "payment_id"), "Refund": ("refund", "refund_id"),
      "LicenseKey": ("license_key", "id")}
BY_TYPE = {"subscription": "Subscription", "payment": "Payment", "refund": "Refund", "license_key": "LicenseKey"}
ASKS, SECONDS = 40, 60.0  # what following one hint may cost: questions, and time

bp = Blueprint("incoming", __name__, url_prefix="/incoming")


@bp.post("/dodo/<business_id>")
@csrf_exempt
def told(business_id: str) -> ResponseReturnValue:
    request.max_content_length = MAX_BODY
    message_id, body = request.headers.get("webhook-id", ""), request.get_data()
    if not ID.fullmatch(business_id):
        raise NotFound()
    secret = webhook_secret(house().database, house().settings, business_id, SOURCE)
    if secret is None:
        raise NotFound()
    try:
        Webhook(secret).verify(body, dict(request.headers.items(lower=True)))
    except (WebhookVerificationError, EmptyWebhookSecretError):  # a secret that the account itself chose may be none
        raise Unauthorized(sentence="The signature does not fit.") from None
    except (ValueError, RecursionError):  # signed, and not JSON: the library reads it after it has checked the signature
        raise BadRequest(sentence="This is no event.") from None
    kind, noun, type_ = event_of(body)
    if not MESSAGE_ID.fullmatch(message_id):
        raise BadRequest(sentence="This is no event.")
    with house().database.open(system(business_id), write=True) as db:
        known = db.scalar(select(ElsewhereHook.id).where(ElsewhereHook.id == f"{SOURCE}/{message_id}").limit(1))
        if known is None:
            db.execute(delete(ElsewhereHook).where(ElsewhereHook.received_at < clock.wall() - KEPT))
            db.add(ElsewhereHook(business_id=business_id, id=f"{SOURCE}/{message_id}", type=type_, received_at=clock.wall(), kind=kind,
                                 noun=noun, attempts=0, due_at=clock.wall() if kind else None))
    for lanes in house().worker.lanes:
        lanes.wake()
    return "", 204


def event_of(body: bytes) -> tuple[str, str, str]:
    """(kind, id, type) of what an event is about; kind and id are empty for what we do not keep.

    Raises BadRequest for what is no event: no JSON, nested without end, text that cannot be stored, an id that is none.
    """
    try:
        said = read_json(body)
        if not isinstance(said, dict):
            raise ValueError("no object")
        type_ = said.get("type")
        bounds.text(type_ if isinstance(type_, str) else "")
        return (*_what(said), type_[:100] if isinstance(type_, str) else "")
    except (ValueError, RecursionError):
        raise BadRequest(sentence="This is no event.") from None


def _what(said: dict[str, Any]) -> tuple[str, str]:
    data = said.get("data")
    if not isinstance(data, dict):
        return "", ""
    name = data.get("payload_type") or BY_TYPE.get(str(said.get("type")).partition(".")[0], "")
    kind, field = OF.get(name, ("", "")) if isinstance(name, str) else ("", "")
    if not kind:
        return "", ""
    noun = data.get(field)
    if not isinstance(noun, str) or not REFERENCE.fullmatch(noun):
        raise ValueError("an id that is none")
    return kind, noun


def follow(house: House, business_id: str, kind: str, noun: str, turn: Turn) -> None:
    """Ask the account about what it told of, and keep what it says now. Raises Unavailable where it does not answer."""
    from dodopayments import APIError

    from tenants.elsewhere.client import why

    found = reader_of(house, business_id, retries=0)
    if found is None:
        return
    found.budget = Budget(ASKS, SECONDS)
    try:
        learn(found, kind, noun)
    except APIError as failed:
        raise Unavailable("ELSEWHERE_UNREACHABLE", why(failed)) from None


def learn(reader: Reader, kind: str, id: str) -> None:
    said = reader.one(kind, id)
    if said is None:
        return
    more = []
    if kind == "payment" and said.values["subscription_id"]:  # what was paid moved the subscription's dates
        renewed = reader.one("subscription", said.values["subscription_id"])
        more = [renewed] if renewed else []
    reader.keep([*more, said])


def reader_of(house: House, business_id: str, retries: int = 1) -> Reader | None:
    from tenants.elsewhere.client import client

    known = reach(house.database, house.settings, business_id, SOURCE)
    origin = origin_of(house.database, business_id, SOURCE)
    if known is None or origin is None:
        return None
    api = client(house.outgoing, known, timeout=20.0, retries=retries)
    return Reader(house.database, house.settings, api, business_id, origin, wait=lambda ask: ask())


def subscribe(house: House, business_id: str, api: Any) -> None:
    """Have the account tell us, once: an endpoint it has already is taken. Keeps its secret, sealed."""
    url = f"{house.settings.base_url}/incoming/dodo/{business_id}"
    found = next((one.id for one in api.webhooks.list(limit=100).data if one.url == url and not one.disabled), None)
    found = found or api.webhooks.create(url=url, description="Customer portal").id
    secret = api.webhooks.retrieve_secret(found).secret
    known = reach(house.database, house.settings, business_id, SOURCE)
    assert known is not None
    with house.database.open(system(business_id), write=True) as db:
        connect(db, house.settings, business_id, SOURCE, base_url=known.base_url, api_key=known.api_key, webhook_key=secret)


def register(app: Flask, house: House) -> None:
    app.register_blueprint(bp)
