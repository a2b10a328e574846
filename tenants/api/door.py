"""The door for programs: `Authorization: Bearer <API key>` and nothing else. Cookies are not looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Blueprint, Response, current_app, g, request

from core.errors import Forbidden, PortalError, TooMany, Unauthorized
from core.scope import nobody
from core.web import SAFE_METHODS, house, open_for_request
from tenants.api.source import source
from tenants.keys import Caller, read_key
from tenants.rates import Allowance, Rates

KEYLESS = 5  # a source without a key has this part of a key's calls
View = TypeVar("View", bound=Callable[..., Any])

bp = Blueprint("api", __name__, url_prefix="/api")


def without_key(view: View) -> View:
    """For the few routes that the contract leaves open. A good key that comes along is still known as its business's."""
    view._without_key = True  # type: ignore[attr-defined]
    return view


@bp.before_request
def authenticate() -> None:
    """Who calls, and so whose rows exist. Raises Unauthorized, Forbidden (read-only key), BusinessArchived, TooMany."""
    is_open = getattr(current_app.view_functions.get(request.endpoint or ""), "_without_key", False)
    g.caller = None
    try:
        g.caller = _caller()
    except PortalError:
        if not is_open:
            _count()
            raise
    _count()
    if g.caller and g.caller.read_only and request.method not in SAFE_METHODS and not is_open:
        raise Forbidden(sentence="This API key may only read.")
    open_for_request(g.caller.scope if g.caller else nobody())


@bp.after_request
def mark(response: Response) -> Response:
    """A refusal by rule stays one, so the SDK shall not try it again; and answers with people's data are not kept."""
    if response.status_code in (409, 422):
        response.headers.setdefault("x-should-retry", "false")
    if response.status_code == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="api"'
    response.headers.setdefault("Cache-Control", "no-store")
    if allowance := g.get("allowance"):
        response.headers["x-ratelimit-limit"] = str(allowance.limit)
        response.headers["x-ratelimit-remaining"] = str(max(allowance.remaining, 0))
        response.headers["x-ratelimit-reset"] = str(allowance.resets_in)
        if response.status_code == 429:
            response.headers.setdefault("Retry-After", str(allowance.resets_in))
    return response


def caller() -> Caller:
    """Whose key came with this request. Only for routes that need one."""
    found: Caller = g.caller
    return found


def _caller() -> Caller:
    kind, _, secret = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not secret.strip():
        raise Unauthorized(sentence="Send your API key as Authorization: Bearer.")
    return read_key(house().database, house().settings, secret.strip())


def _count() -> None:
    """One call of this key, or of this source where there is none. Raises TooMany."""
    limit = house().settings.api_rate
    if not limit:
        return
    if g.caller is None:
        limit = max(limit // KEYLESS, 1)
    allowance: Allowance = _rates().call(g.caller.key_id if g.caller else f"source:{source()}", limit)
    g.allowance = allowance
    if allowance.remaining < 0:
        raise TooMany(sentence=f"At most {limit} calls a minute.")


def _rates() -> Rates:
    found: Rates = current_app.extensions["api rates"]
    return found
