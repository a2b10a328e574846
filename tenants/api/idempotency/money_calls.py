"""Idempotency of calls that move money: a repeated call gets the first call's answer (safety 4.6)."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import structlog
from flask import jsonify, make_response, request
from flask.typing import ResponseReturnValue

from core.errors import PortalError
from core.request_context import services
from core.transaction_retry import retried
from tenants import idempotency_store as store
from tenants.api.authentication import caller

log = structlog.get_logger()


def idempotent(view: Callable[..., Any]) -> Callable[..., ResponseReturnValue]:
    """Decorate a view that moves money. The view must not use the request's session: the payment processor opens its own."""

    @wraps(view)
    def wrapper(**values: str) -> ResponseReturnValue:
        call = store.ReceivedCall(
            caller(), f"{request.method} {request.path}", request.get_data(), request.headers.get("Idempotency-Key", "")[:255],
            _retry_count(request.headers.get("x-stainless-retry-count", "")),
        )  # fmt: skip
        found = store.begin(services().database, call)
        if isinstance(found, store.StoredAnswer):
            return jsonify(found.body), found.status
        answer = _call_view(view, values)
        if answer.status in (429, 503):
            store.forget(services().database, call, found)
        else:
            store.finish(services().database, call, found, answer)
        return jsonify(answer.body), answer.status

    wrapper._idempotent = True  # type: ignore[attr-defined]
    return wrapper


def _call_view(view: Callable[..., Any], values: dict[str, str]) -> store.StoredAnswer:
    try:
        response = make_response(retried(view)(**values))
        return store.StoredAnswer(response.status_code, response.get_json())
    except PortalError as error:
        fields: dict[str, object] = {"fields": error.fields} if error.fields else {}
        return store.StoredAnswer(error.status, {"code": error.code, "message": error.sentence, **fields})
    except Exception:
        log.exception("money call failed", path=request.path)
        # a charge may have started, so a repeated call must not start another one
        message = "Something went wrong. Check the payments before you try again."
        return store.StoredAnswer(500, {"code": "INTERNAL_SERVER_ERROR", "message": message})


def _retry_count(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
