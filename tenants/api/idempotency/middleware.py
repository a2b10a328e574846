"""Handles `Idempotency-Key` on every POST that moves no money: a repeated call gets the first call's answer.

A call's effect and its answer are stored in one transaction. A refused call had no effect, so it is not stored and can be retried.
Calls that move money store refusals as well (money_calls.py), because a charge may have started.
"""

from __future__ import annotations

from flask import Response, current_app, g, jsonify, request
from flask.typing import ResponseReturnValue

from core import request_retry
from core.request_context import db, services, undo
from tenants import idempotency_store as store
from tenants.api.authentication import bp, caller

MAX_KEY_LENGTH = 255


@bp.before_request
def answer_repeat() -> ResponseReturnValue | None:
    """Return the first call's answer, if there was one. Raises Invalid, Conflict (tenants/idempotency_store.py)."""
    key = request.headers.get("Idempotency-Key", "")[:MAX_KEY_LENGTH]
    view = current_app.view_functions.get(request.endpoint or "")
    if request.method != "POST" or not key or g.caller is None or getattr(view, "_idempotent", False):
        return None
    call = store.ReceivedCall(caller(), f"POST {request.full_path}", request.get_data(), key, 0)
    database = services().database
    found = store.begin(database, call, lease=store.ATOMIC_CALL_LEASE, repeatable=True)
    if isinstance(found, store.StoredAnswer):
        return jsonify(found.body), found.status
    g.repeat = call, found
    request_retry.when_undone(lambda: store.forget(database, call, found, repeatable=True))
    return None


@bp.after_request
def store_answer(response: Response) -> Response:
    if "repeat" not in g:
        return response
    call, item = g.pop("repeat")
    if response.status_code >= 400:
        undo()
        store.forget(services().database, call, item)
    else:
        store.store_answer(db(), services().settings, item, store.StoredAnswer(response.status_code, response.get_json(silent=True)))
    return response
