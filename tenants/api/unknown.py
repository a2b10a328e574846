"""Nothing that a program sends is left out in silence: a field that no model has is refused by name.

A field that asks for nothing (`"force_3ds": false`, `"short_link": null`) is let through, because leaving it out changes nothing.
"""

from __future__ import annotations

from typing import Any

from flask import current_app, request
from pydantic import ValidationError

from core.errors import Invalid
from tenants.api.door import bp

NOT_OFFERED = "Not offered here."
EXTRA, REFUSED = "extra_forbidden", "not_offered"
"""Pydantic's kind for a field that a model does not have, and ours for a value that is known and refused."""


def drop_idle(sent: dict[str, Any], error: ValidationError, removed: dict[str, str]) -> bool:
    """Take unknown fields that are null or false out of `sent`. True if there was one. `removed` fields are refused in any case."""
    found = False
    for one in error.errors(include_url=False, include_context=False):
        if one["type"] == EXTRA and (one["input"] is None or one["input"] is False) and one["loc"][-1] not in removed:
            place = _parent(sent, one["loc"])
            found = isinstance(place, dict) and place.pop(one["loc"][-1], ...) is not ... or found
    return found


def path_in(sent: Any, loc: tuple[int | str, ...]) -> str:
    """Where an error is, by the names that were sent: `price.meters`, without the name of the model that was chosen for the price."""
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
    """For routes that describe their query and for those that have none. Raises Invalid (INVALID_QUERY_PARAMS)."""
    view = current_app.view_functions.get(request.endpoint or "")
    said = getattr(view, "_said", None)
    if said is None:
        return
    known = said.asks.model_fields if said.asks else {}
    unknown = sorted({name.removesuffix("[]") for name in request.args} - set(known))
    if unknown:
        raise Invalid("INVALID_QUERY_PARAMS", f"{unknown[0][:80]}: {NOT_OFFERED}", fields={name[:80]: NOT_OFFERED for name in unknown[:20]})
