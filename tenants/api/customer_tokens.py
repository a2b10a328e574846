"""Creates tokens with which a customer's program or front end calls the customer API (docs/customer-api.md)."""

from __future__ import annotations

from typing import Literal

from flask.typing import ResponseReturnValue

from auth import access_tokens
from billing.history import api_lists as read
from core.request_context import db, services
from tenants.api.authentication import bp, caller
from tenants.api.request_parsing import Body, body
from tenants.api.route_spec import route_spec
from tenants.api.shapes import Shape, Stamp, json_response


class NewToken(Body):
    """`read_only`: the token reads and changes nothing."""

    read_only: bool = False


class CustomerToken(Shape):
    token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the name of the scheme
    scope: str
    expires_at: Stamp


@bp.post("/customers/<customer_id>/customer-portal/token", endpoint="create_customer_token")
@route_spec(CustomerToken, body=NewToken, status=201)
def create(customer_id: str) -> ResponseReturnValue:
    """Create a token of this customer for the customer API, valid for 24 hours. An addition to the contract.

    Create it only for a customer whom you have just signed in yourself: for half an hour it also allows what otherwise needs a recent
    sign-in, such as a charged plan change. It never opens other businesses, and ends with the API key that made it.
    """
    sent = body(NewToken)
    read.customer(db(), customer_id)
    row, secret = access_tokens.make_for_customer(db(), services().settings, caller().business_id, customer_id, may_act=not sent.read_only)
    return json_response(CustomerToken(token=secret, scope=row.scopes, expires_at=row.expires_at), 201)
