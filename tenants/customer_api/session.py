"""The token itself: what it may do, and signing out."""

from __future__ import annotations

from flask import jsonify
from flask.typing import ResponseReturnValue

from auth import access_tokens
from core.request_context import services
from tenants.api.route_spec import route_spec
from tenants.customer_api.authentication import bearer, bp, for_customer, for_person


@bp.delete("/customer-portal/token", endpoint="revoke_token")
@for_customer
@route_spec(status=204)
def revoke() -> ResponseReturnValue:
    """Revoke the token of this call: sign the program out."""
    access_tokens.revoke_itself(services().database, bearer())
    return "", 204


@bp.delete("/unified-customer-portal/token", endpoint="revoke_unified_token")
@for_person
@route_spec(status=204)
def revoke_unified() -> ResponseReturnValue:
    """Revoke the token of this call: sign the program out. Tokens of single businesses that it made end with it."""
    access_tokens.revoke_itself(services().database, bearer())
    return "", 204


@bp.get("/unified-customer-portal/token", endpoint="unified_token")
@for_person
@route_spec(form="any")
def show() -> ResponseReturnValue:
    """Return what the token may do."""
    return jsonify(scopes=["read", "act"] if bearer().may_act else ["read"], is_recently_proved=bearer().is_fresh)
