"""Authenticates API requests by `Authorization: Bearer <API key>`. Cookies are ignored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Blueprint, Response, current_app, g, request

from core.errors import Forbidden, PortalError, TooMany, Unauthorized
from core.metrics.instruments import THROTTLED
from core.request_context import open_for_request, services
from core.request_limits import SAFE_METHODS
from core.scope import nobody
from tenants.api.client_address import source
from tenants.api_keys import Caller, read_key
from tenants.rate_limits import Allowance, Rates

KEYLESS_SHARE = 5  # a client without a key may make a fifth of a key's calls
View = TypeVar("View", bound=Callable[..., Any])

bp = Blueprint("api", __name__, url_prefix="/api")


def without_key(view: View) -> View:
    """Mark a route that the contract leaves open. A valid key that is sent anyway still identifies its business."""
    view._without_key = True  # type: ignore[attr-defined]
    return view


@bp.before_request
def authenticate() -> None:
    """Set `g.caller` and open the request's session in its scope.

    Raises Unauthorized, Forbidden (read-only key), BusinessArchived, TooMany.
    """
    is_open = getattr(current_app.view_functions.get(request.endpoint or ""), "_without_key", False)
    g.caller = None
    try:
        g.caller = _read_caller()
    except PortalError:
        if not is_open:
            _count_call()
            raise
    _count_call()
    if g.caller and g.caller.read_only and request.method not in SAFE_METHODS and not is_open:
        raise Forbidden(sentence="This API key is read-only.")
    open_for_request(g.caller.scope if g.caller else nobody())


@bp.after_request
def add_headers(response: Response) -> Response:
    """Tell the SDK not to retry refusals, forbid caching of personal data, and report the rate limit."""
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
    """Return the business and key of this request. Only for routes that require a key."""
    found: Caller = g.caller
    return found


def _read_caller() -> Caller:
    kind, _, secret = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not secret.strip():
        raise Unauthorized(sentence="Send your API key in the header Authorization: Bearer <key>.")
    return read_key(services().database, services().settings, secret.strip())


def _count_call() -> None:
    """Count one call of this key, or of this client address if there is no key. Raises TooMany."""
    limit = services().settings.api_rate
    if not limit:
        return
    if g.caller is None:
        limit = max(limit // KEYLESS_SHARE, 1)
    allowance: Allowance = _rates().call(g.caller.key_id if g.caller else f"source:{source()}", limit)
    g.allowance = allowance
    if allowance.remaining < 0:
        THROTTLED.labels("api").inc()
        raise TooMany(sentence=f"You can make {limit} calls per minute.")


def _rates() -> Rates:
    found: Rates = current_app.extensions["api rates"]
    return found
