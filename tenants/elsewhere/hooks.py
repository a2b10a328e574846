"""What the account tells us: POST /incoming/dodo/<business_id>, signed (Standard Webhooks) with that account's secret.

Verified, stored once under its id, answered; then the worker asks the account what is true. A hint that comes late, twice
or in the wrong order therefore changes nothing: what is written is what the account says when it is asked.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from sqlalchemy import delete, select
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from core import clock
from core.errors import BadRequest, NotFound, Unauthorized
from core.json_input import read_json
from core.outbox import emit
from core.scope import system
from core.security import csrf_exempt
from core.web import House, house
from core.worker import Work
from tenants.elsewhere.account import ElsewhereHook, connect, note_failure, reach, webhook_secret
from tenants.elsewhere.reader import SOURCE, Reader

if TYPE_CHECKING:
    from flask import Flask

MAX_BODY = 256 * 1024
KEPT = timedelta(days=30)  # no sender tries for so long
ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
OF = {"Subscription": ("subscription", "subscription_id"), "Payment": ("payment", "payment_id"), "Refund": ("refund", "refund_id"),
      "LicenseKey": ("license_key", "id")}
BY_TYPE = {"subscription": "Subscription", "payment": "Payment", "refund": "Refund", "license_key": "LicenseKey"}

bp = Blueprint("incoming", __name__, url_prefix="/incoming")


@bp.post("/dodo/<business_id>")
@csrf_exempt
def told(business_id: str) -> ResponseReturnValue:
    request.max_content_length = MAX_BODY
    one, body = request.headers.get("webhook-id", ""), request.get_data()
    if not ID.fullmatch(business_id):
        raise NotFound()
    secret = webhook_secret(house().database, house().settings, business_id, SOURCE)
    if secret is None:
        raise NotFound()
    try:
        Webhook(secret).verify(body, dict(request.headers.items(lower=True)))
        said = read_json(body)
    except (WebhookVerificationError, ValueError):
        raise Unauthorized(sentence="The signature does not fit.") from None
    if not isinstance(said, dict) or not one or len(one) > 200:
        raise BadRequest(sentence="This is no event.")
    kind, noun = _what(said)
    with house().database.open(system(business_id), write=True) as db:
        known = db.scalar(select(ElsewhereHook.id).where(ElsewhereHook.id == f"{SOURCE}/{one}").limit(1))
        if known is None:
            db.execute(delete(ElsewhereHook).where(ElsewhereHook.received_at < clock.wall() - KEPT))
            db.add(ElsewhereHook(business_id=business_id, id=f"{SOURCE}/{one}", type=str(said.get("type"))[:100], received_at=clock.wall()))
            if kind:
                emit(db, "elsewhere.told", business_id=business_id, noun=noun, data={"kind": kind, "system": SOURCE})
    return "", 204


def _what(said: dict[str, Any]) -> tuple[str, str]:
    """(kind, id) of what an event is about; empty for what we do not keep."""
    data = said.get("data")
    if not isinstance(data, dict):
        return "", ""
    name = data.get("payload_type") or BY_TYPE.get(str(said.get("type")).partition(".")[0], "")
    kind, field = OF.get(str(name), ("", ""))
    noun = data.get(field)
    return (kind, noun) if kind and isinstance(noun, str) and 0 < len(noun) <= 100 else ("", "")


def follow(house: House, work: Work) -> None:
    """Ask the account about what it told of, and keep what it says now."""
    from dodopayments import APIError

    from tenants.elsewhere.client import why

    found = reader_of(house, str(work.business_id))
    if found is not None and work.noun_id:
        try:
            learn(found, work.data["kind"], work.noun_id)
        except APIError as failed:
            note_failure(house.database, found.business_id, SOURCE, why(failed))
            raise


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
    if known is None:
        return None
    api = client(house.outgoing, known, timeout=20.0, retries=retries)
    return Reader(house.database, house.settings, api, business_id, wait=lambda ask: ask())


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
    if house.handlers is not None:
        house.handlers.on("elsewhere.told", lambda work: follow(house, work), "elsewhere.follow")
