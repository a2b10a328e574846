"""Refuses unknown fields and query parameters by name, so that nothing a program sends is ignored silently.

An unknown field that is null or false (`"force_3ds": false`, `"short_link": null`) is accepted: leaving it out changes nothing.
"""

from __future__ import annotations

from typing import Any

from flask import current_app, request
from pydantic import ValidationError

from core.errors import Invalid
from tenants.api.authentication import bp
from tenants.api.route_spec import RouteSpec

NOT_OFFERED = "Not supported."
EXTRA, REFUSED = "extra_forbidden", "not_offered"
"""Error types: Pydantic's for an unknown field, and ours for a value that is understood but not supported."""


def drop_unset_fields(sent: dict[str, Any], error: ValidationError, removed: dict[str, str]) -> bool:
    """Remove unknown fields that are null or false from `sent`. Return whether any was removed. Fields in `removed` are always refused."""
    found = False
    for item in error.errors(include_url=False, include_context=False):
        if item["type"] == EXTRA and (item["input"] is None or item["input"] is False) and item["loc"][-1] not in removed:
            place = _parent(sent, item["loc"])
            found = isinstance(place, dict) and place.pop(item["loc"][-1], ...) is not ... or found
    return found


def path_in(sent: Any, loc: tuple[int | str, ...]) -> str:
    """Return the path of an error in the names that were sent, such as `price.meters`, without the name of the chosen model."""
    names = []
    for part in loc[:-1]:
        if (isinstance(sent, dict) and part in sent) or (isinstance(sent, list) and isinstance(part, int)):
            sent = sent[part]  # type: ignore[index]
            names.append(str(part))
    return ".".join([*names, *(str(part) for part in loc[-1:])])


def _parent(sent: Any, loc: tuple[int | str, ...]) -> Any:
    for part in loc[:-1]:
        if (isinstance(sent, dict) and part in sent) or (isinstance(sent, list) and isinstance(part, int)):
            sent = sent[part]  # type: ignore[index]
    return sent


@bp.before_request
def refuse_unknown_parameters() -> None:
    """Refuse query parameters that the route does not describe. Raises Invalid (INVALID_QUERY_PARAMS)."""
    view = current_app.view_functions.get(request.endpoint or "")
    spec: RouteSpec | None = getattr(view, "_route_spec", None)
    if spec is None:
        return
    known = spec.query.model_fields if spec.query else {}
    unknown = sorted({name.removesuffix("[]") for name in request.args} - set(known))
    if unknown:
        raise Invalid("INVALID_QUERY_PARAMS", f"{unknown[0][:80]}: {NOT_OFFERED}", fields={name[:80]: NOT_OFFERED for name in unknown[:20]})
