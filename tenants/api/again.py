"""`Idempotency-Key` on every POST: the same call again has one effect and gets the first one's answer.

What a call did and what it answered are kept in one transaction. A call that was refused did nothing, so it is not
kept: sent again it is tried again. Calls that move money keep refusals too (once.py), for they may have begun.
"""

from __future__ import annotations

from flask import Response, current_app, g, jsonify, request
from flask.typing import ResponseReturnValue

from core import rerun
from core.web import db, house, undo
from tenants import repeats
from tenants.api.door import bp, caller

LONGEST = 255


@bp.before_request
def remembered() -> ResponseReturnValue | None:
    """The first one's answer, when there was one. Raises Invalid, Conflict (see tenants/repeats.py)."""
    key = request.headers.get("Idempotency-Key", "")[:LONGEST]
    view = current_app.view_functions.get(request.endpoint or "")
    if request.method != "POST" or not key or g.caller is None or getattr(view, "_once", False):
        return None
    call = repeats.Call(caller(), f"POST {request.full_path}", request.get_data(), key, 0)
    database = house().database
    found = repeats.begin(database, call, held_for=repeats.EFFECTLESS, repeatable=True)
    if isinstance(found, repeats.Answer):
        return jsonify(found.body), found.status
    g.repeat = call, found
    rerun.when_undone(lambda: repeats.forget(database, call, found, repeatable=True))
    return None


@bp.after_request
def remember(response: Response) -> Response:
    if "repeat" not in g:
        return response
    call, one = g.pop("repeat")
    if response.status_code >= 400:
        undo()
        repeats.forget(house().database, call, one)
    else:
        repeats.note(db(), house().settings, one, repeats.Answer(response.status_code, response.get_json(silent=True)))
    return response
