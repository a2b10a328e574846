"""Receives webhooks of external accounts: POST /incoming/<system>/billing/<business_id>, signed with the account's secret.

A webhook is verified, stored once under its id and answered. A lane of the business (`lanes.py`) then reads the object from the
account. Late, repeated or reordered webhooks are therefore harmless: the stored data is always what the account returns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from sqlalchemy import delete, select

from core import clock
from core.db import ScopedSession
from core.errors import NotFound, Unavailable
from core.request_context import services
from core.scope import system
from core.security import csrf_exempt
from core.services import Services
from tenants.external.account import ExternalWebhook, connect, origin_of, reach, webhook_secret
from tenants.external.read_limits import ReadLimit
from tenants.external.reader import AccountReader
from tenants.external.system import CallFailed, Hint
from tenants.external.systems import SYSTEMS

if TYPE_CHECKING:
    from flask import Flask

MAX_BODY = 256 * 1024
KEPT = timedelta(days=31)  # longer than any sender retries, and than a list of events goes back
ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
REQUESTS, SECONDS = 40, 60.0  # limits of reading the object of one webhook

bp = Blueprint("incoming", __name__, url_prefix="/incoming")


@bp.post("/<system_name>/billing/<business_id>")
@csrf_exempt
def receive(system_name: str, business_id: str) -> ResponseReturnValue:
    request.max_content_length = MAX_BODY
    body, billing_system = request.get_data(), SYSTEMS.get(system_name)
    if billing_system is None or not ID.fullmatch(business_id):
        raise NotFound()
    secret = webhook_secret(services().database, services().settings, business_id, system_name)
    if secret is None:
        raise NotFound()
    hint = billing_system.verify(secret, dict(request.headers.items(lower=True)), body)
    with services().database.open(system(business_id), write=True) as db:
        db.execute(delete(ExternalWebhook).where(ExternalWebhook.received_at < clock.wall() - KEPT))
        store(db, business_id, system_name, [hint])
    for lanes in services().worker.lanes:
        lanes.wake()
    return "", 204


@bp.post("/dodo/<business_id>")
@csrf_exempt
def receive_from_dodo(business_id: str) -> ResponseReturnValue:
    """The address that accounts at Dodo Payments were given before there were other systems."""
    return receive("dodo", business_id)


def store(db: ScopedSession, business_id: str, system_name: str, hints: Sequence[Hint]) -> None:
    """Add the hints that are not known yet. Those about a kind that is read are due at once."""
    found = {f"{system_name}/{hint.id}": hint for hint in hints}
    known = set(db.scalars(select(ExternalWebhook.id).where(ExternalWebhook.id.in_(sorted(found)))))
    for row_id, hint in found.items():
        if row_id not in known:
            db.add(
                ExternalWebhook(
                    business_id=business_id,
                    id=row_id,
                    type=hint.type,
                    received_at=clock.wall(),
                    kind=hint.kind,
                    noun=hint.noun,
                    attempts=0,
                    due_at=clock.wall() if hint.kind else None,
                )
            )


def follow(services: Services, business_id: str, system_name: str, kind: str, noun: str) -> None:
    """Read the object of a webhook from the account and store it. Raises Unavailable if the account does not answer."""
    found = reader_of(services, business_id, system_name, retries=0)
    if found is None:
        return
    found.budget = ReadLimit(REQUESTS, SECONDS)
    try:
        learn(found, kind, noun)
    except CallFailed as failed:
        raise Unavailable("ELSEWHERE_UNREACHABLE", failed.reason) from None


def learn(reader: AccountReader, kind: str, id: str) -> None:
    """Read one object from the account and store it, with what may have changed with it."""
    reader.system.learn(reader, kind, id)


def reader_of(services: Services, business_id: str, system_name: str, retries: int = 1) -> AccountReader | None:
    known = reach(services.database, services.settings, business_id, system_name)
    origin = origin_of(services.database, business_id, system_name)
    if known is None or origin is None:
        return None
    api = SYSTEMS[system_name].open(services.outgoing, known, timeout=20.0, retries=retries)
    return AccountReader(services.database, services.settings, api, business_id, origin, SYSTEMS[system_name], wait=lambda call: call())


def webhook_url(services: Services, business_id: str, system_name: str) -> str:
    path = f"dodo/{business_id}" if system_name == "dodo" else f"{system_name}/billing/{business_id}"
    return f"{services.settings.base_url}/incoming/{path}"


def subscribe(services: Services, business_id: str, api: Any, system_name: str = "dodo") -> None:
    """Subscribe to the webhooks of the account and store the secret encrypted. Raises CallFailed."""
    secret = SYSTEMS[system_name].subscribe(api, webhook_url(services, business_id, system_name))
    known = reach(services.database, services.settings, business_id, system_name)
    assert known is not None
    with services.database.open(system(business_id), write=True) as db:
        connect(db, services.settings, business_id, system_name, base_url=known.base_url, api_key=known.api_key, webhook_key=secret)


def register(app: Flask, services: Services) -> None:
    app.register_blueprint(bp)
