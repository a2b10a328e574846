"""Money calls: the same call again gets the first answer (safety 4.6)."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import structlog
from flask import jsonify, make_response, request
from flask.typing import ResponseReturnValue

from core.conflicts import retried
from core.errors import PortalError
from core.web import house
from tenants import repeats
from tenants.api.door import caller

log = structlog.get_logger()


def once(view: Callable[..., Any]) -> Callable[..., ResponseReturnValue]:
    """For a view that moves money. It must not use the request's own session: the till opens its own."""

    @wraps(view)
    def answer(**values: str) -> ResponseReturnValue:
        call = repeats.Call(
            caller(), f"{request.method} {request.path}", request.get_data(), request.headers.get("Idempotency-Key", "")[:255],
            _tries(request.headers.get("x-stainless-retry-count", "")),
        )  # fmt: skip
        found = repeats.begin(house().database, call)
        if isinstance(found, repeats.Answer):
            return jsonify(found.body), found.status
        said = _say(view, values)
        if said.status in (429, 503):
            repeats.forget(house().database, call, found)
        else:
            repeats.finish(house().database, call, found, said)
        return jsonify(said.body), said.status

    answer._once = True  # type: ignore[attr-defined]
    return answer


def _say(view: Callable[..., Any], values: dict[str, str]) -> repeats.Answer:
    try:
        response = make_response(retried(view)(**values))
        return repeats.Answer(response.status_code, response.get_json())
    except PortalError as error:
        fields: dict[str, object] = {"fields": error.fields} if error.fields else {}
        return repeats.Answer(error.status, {"code": error.code, "message": error.sentence, **fields})
    except Exception:
        log.exception("money call broke", path=request.path)
        # what was begun may go on: the same call again must not begin it a second time
        words = "Something broke. Look at the payments before you call again."
        return repeats.Answer(500, {"code": "INTERNAL_SERVER_ERROR", "message": words})


def _tries(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
