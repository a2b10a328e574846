"""Authenticates calls of customers' programs by a token of auth/access_tokens.py. Cookies and API keys of businesses are not accepted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from flask import Blueprint, Response, current_app, g, jsonify, request
from flask.typing import ResponseReturnValue

from auth import access_tokens
from auth.access_tokens import TokenAccess
from auth.visit_rows import Account
from core import clock
from core.errors import BusinessArchived, Forbidden, TooMany, Unauthorized
from core.links import external
from core.metrics.instruments import THROTTLED
from core.request_context import open_for_request, services
from core.request_limits import SAFE_METHODS
from core.scope import nobody
from portal.hosted_pages import RECENT_SESSION
from portal.request_accounts import set_accounts
from tenants.api.client_address import source
from tenants.customer_api import cors
from tenants.rate_limits import Rates

SHARE = 2  # a token may make a half of what an API key may, a caller without a token a tenth of it
ANONYMOUS_SHARE = 10
Who = Literal["customer", "person", "anybody"]
View = TypeVar("View", bound=Callable[..., Any])

bp = Blueprint("customer_api", __name__, url_prefix="/api")


@dataclass(frozen=True)
class Access:
    """Who may call a route. `in_words`: that a business has closed is said in plain text (contract 3.2)."""

    who: Who
    in_words: bool = True


def for_customer(view: View) -> View:
    """Mark a route for tokens of one business."""
    return _mark(view, Access("customer"))


def for_person(view: View) -> View:
    """Mark a route for tokens of a person, which open all businesses. A business cannot make such a token."""
    return _mark(view, Access("person", in_words=False))


def for_anybody(view: View) -> View:
    """Mark a route that needs no token."""
    view._without_key = True  # type: ignore[attr-defined]  # for the OpenAPI description
    return _mark(view, Access("anybody", in_words=False))


def _mark(view: View, access: Access) -> View:
    view._access = access  # type: ignore[attr-defined]
    return view


def access_of(view: Any) -> Access:
    """Return who may call a view. Raises LookupError for a view that does not say."""
    found = getattr(view, "_access", None)
    if found is None:
        raise LookupError(f"{view.__module__}.{view.__name__} does not say who may call it")
    return found  # type: ignore[no-any-return]


@bp.before_request
def authenticate() -> ResponseReturnValue | None:
    """Set `g.bearer` and open the request's session in its scope.

    Raises Unauthorized, Forbidden (read-only token, approval missing), BusinessArchived, TooMany.
    """
    g.bearer = None
    if request.method == "OPTIONS":
        return cors.preflight()
    access = access_of(current_app.view_functions[str(request.endpoint)])
    try:
        if access.who != "anybody":
            g.bearer = _read_bearer(access.who)
    finally:
        _count_call()
    if g.bearer is None:
        open_for_request(nobody())
        return None
    if request.method not in SAFE_METHODS and not g.bearer.may_act:
        raise Forbidden("INSUFFICIENT_SCOPE", "This token is read-only.")
    set_accounts(list(g.bearer.accounts))
    open_for_request(g.bearer.scope)
    if access.who == "customer":
        theirs = g.bearer.accounts[0]
        if theirs.archived_at:
            raise BusinessArchived(sentence="This business is archived.")
        if g.bearer.visit is not None and not any(row.accepted for row in g.bearer.accounts):
            raise Forbidden("APPROVAL_REQUIRED", "Approve this business in the portal first.")
    return None


@bp.after_request
def add_headers(response: Response) -> Response:
    response.headers.setdefault("Cache-Control", "no-store")
    if response.status_code == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="customer"'
    return cors.allow(response, g.get("bearer"))


@bp.errorhandler(BusinessArchived)
def archived(error: BusinessArchived) -> ResponseReturnValue:
    """Answer in plain text where the contract does (3.2); clients look for the words. An error raised here would be answered with 500."""
    if access_of(current_app.view_functions[str(request.endpoint)]).in_words:
        return Response("This business is archived", 403, content_type="text/plain; charset=utf-8")
    return jsonify(code=error.code, message=error.sentence), error.status


def bearer() -> TokenAccess:
    """Return who calls. Only for routes that need a token."""
    found: TokenAccess = g.bearer
    return found


def account() -> Account:
    """Return the first customer row of the token's business."""
    return bearer().accounts[0]


def require_recent_proof() -> None:
    """Raise Forbidden unless somebody proved within half an hour who calls, as pages do before the same action (safety 2.7)."""
    if not bearer().is_fresh:
        raise Forbidden("RECENT_SIGN_IN_REQUIRED", "Confirm it's you: sign in again, then repeat this. Nothing has been changed.")


def refuse_new_card_of_old_session() -> None:
    """Raise Forbidden for a new card on a session older than a day without a recent proof, as pages do."""
    visit = bearer().visit
    if visit is not None and _is_old(visit.created_at) and not bearer().is_fresh:
        require_recent_proof()


def own_return_url() -> str:
    """Return the URL template that hosted pages return to: the payment page of the portal that has the token's rows."""
    home = f"/business/{bearer().business_id}/" if bearer().business_id else "/"
    return external(home) + "payments/{payment_id}"


def _is_old(created_at: Any) -> bool:
    return bool(clock.wall() - created_at > RECENT_SESSION)


def _read_bearer(who: Who) -> TokenAccess:
    kind, _, secret = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not secret.strip():
        raise Unauthorized(sentence="Send a token in the header Authorization: Bearer <token>.")
    found = access_tokens.read(services().database, services().settings, secret.strip())
    if (who == "customer") != (found.business_id is not None):
        wanted = "one business" if who == "customer" else "a person"
        raise Unauthorized(sentence=f"This call needs a token of {wanted}.")
    return found


def _count_call() -> None:
    limit = services().settings.api_rate
    if not limit:
        return
    limit = max(limit // (SHARE if g.bearer else ANONYMOUS_SHARE), 1)
    rates: Rates = current_app.extensions["api rates"]
    allowance = rates.call(f"token:{g.bearer.token_id}" if g.bearer else f"customer source:{source()}", limit)
    if allowance.remaining < 0:
        THROTTLED.labels("api").inc()
        raise TooMany(sentence=f"You can make {limit} calls per minute.")
