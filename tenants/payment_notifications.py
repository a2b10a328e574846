"""Receives notifications of payment processors: POST /incoming/<kind>/<payment_account_id>, verified with that account's secret."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from billing.charging import notifications
from core.errors import NotFound
from core.request_context import services
from core.security import csrf_exempt
from core.services import Services

if TYPE_CHECKING:
    from flask import Flask

MAX_BODY = 512 * 1024
ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

bp = Blueprint("payment_notifications", __name__, url_prefix="/incoming")


@bp.post("/<kind>/<payment_account_id>")
@csrf_exempt
def receive(kind: str, payment_account_id: str) -> ResponseReturnValue:
    """Store a notification once and answer at once; the worker looks up what it is about."""
    request.max_content_length = MAX_BODY
    if not ID.fullmatch(kind) or not ID.fullmatch(payment_account_id):
        raise NotFound()
    notifications.receive(services().processor, kind, payment_account_id, dict(request.headers.items()), request.get_data())
    return "", 204


def register(app: Flask, services: Services) -> None:
    from tenants import payment_account_tests, payment_cli, payment_method_moves

    app.register_blueprint(bp)
    payment_cli.register(app, services)
    payment_account_tests.register(services)
    payment_method_moves.register(services)
