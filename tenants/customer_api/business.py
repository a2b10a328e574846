"""The business of a token, and the customer's own record there."""

from __future__ import annotations

from flask import jsonify
from flask.typing import ResponseReturnValue

from billing.history import api_lists as read
from core.request_context import db
from tenants.api.route_spec import route_spec
from tenants.customer_api.authentication import account, bp, for_customer
from tenants.customer_api.shapes import business_shape, profile_shape


@bp.get("/customer-portal/business", endpoint="business")
@for_customer
@route_spec(form="any")
def business() -> ResponseReturnValue:
    """Return the business of this token."""
    return jsonify(business_shape(account()))


@bp.get("/customer-portal/profile", endpoint="profile")
@for_customer
@route_spec(form="any")
def profile() -> ResponseReturnValue:
    """Return the customer of this token."""
    return jsonify(profile_shape(read.customer(db(), account().customer_id)))
