"""Saved payment methods, and which one a subscription is paid with (contract 3.7)."""

from __future__ import annotations

from typing import Literal

from flask import jsonify
from flask.typing import ResponseReturnValue
from pydantic import model_validator

from billing.charging.payment_processor import PAGE_LIFE
from billing.history import api_lists
from billing.history import customer_lists as read
from billing.model.payments import PaymentMethod
from billing.renewals.payment_methods import change_method, remove_method
from billing.subscriptions import queries
from core.errors import NotFound
from core.request_context import db, scope, services
from portal.billing_services import processor
from tenants.api.request_parsing import Id, body
from tenants.api.route_spec import route_spec
from tenants.api.shapes import Json, stamp
from tenants.api.shapes.customers import PaymentMethodShape
from tenants.customer_api.authentication import account, bp, for_customer, own_return_url, refuse_new_card_of_old_session
from tenants.customer_api.requests import LooseBody
from tenants.return_urls import clean_return_url


class WantedMethod(LooseBody):
    """`new`: the customer enters it on a hosted page. `existing`: the saved payment method `payment_method_id`."""

    type: Literal["new", "existing"]
    payment_method_id: Id | None = None
    return_url: str | None = None

    @model_validator(mode="after")
    def fits(self) -> WantedMethod:
        if self.type == "existing" and not self.payment_method_id:
            raise ValueError("type existing requires a payment_method_id")
        return self


@bp.get("/customer-portal/payment-methods", endpoint="payment_methods")
@for_customer
@route_spec(form="any")
def index() -> ResponseReturnValue:
    """List the saved payment methods."""
    return jsonify(items=[_shape(row) for row in read.payment_methods(db())])


@bp.delete("/customer-portal/payment-methods/<method_id>", endpoint="remove_payment_method")
@for_customer
@route_spec(status=204)
def remove(method_id: str) -> ResponseReturnValue:
    """Remove a saved payment method. Answers 409 while a subscription or a pending payment uses it."""
    found = next((row for row in read.payment_methods(db()) if row.id == method_id), None)
    if found is None:
        raise NotFound(sentence="There is no such payment method.")
    remove_method(db(), found.id)
    return "", 204


@bp.get("/customer-portal/subscriptions/<subscription_id>/eligible-payment-methods", endpoint="eligible_payment_methods")
@for_customer
@route_spec(form="any")
def eligible(subscription_id: str) -> ResponseReturnValue:
    """List the payment methods that this subscription can be paid with."""
    row = queries.get_subscription(db(), subscription_id)
    methods = api_lists.payment_methods(db(), row.customer_id)
    return jsonify(items=[_shape(method) for method in methods if method.recurring and method.held_by == row.collected_by])


@bp.post("/customer-portal/subscriptions/<subscription_id>/update-payment-method", endpoint="change_payment_method")
@for_customer
@route_spec(form="any", body=WantedMethod)
def change(subscription_id: str) -> ResponseReturnValue:
    """Pay a subscription with another payment method. If it is on hold, the amount due is charged with it at once."""
    with services().database.open(scope()) as reading:
        queries.get_subscription(reading, subscription_id)
        business = api_lists.business(reading, account().business_id)
    sent = body(WantedMethod)
    url = clean_return_url(services().settings, business, sent.return_url) if sent.return_url else own_return_url()
    if sent.type == "new":
        refuse_new_card_of_old_session()
    done = change_method(
        processor(), scope(), subscription_id, payment_method_id=sent.payment_method_id if sent.type == "existing" else None, return_url=url
    )
    created_at = api_lists.payment(db(), done.payment_id).payment.created_at if done.payment_id and done.link else None
    return jsonify(
        client_secret=None, payment_id=done.payment_id, payment_link=done.link,
        expires_on=stamp(created_at + PAGE_LIFE) if created_at else None,
    )  # fmt: skip


def _shape(row: PaymentMethod) -> Json:
    return {**PaymentMethodShape.of(row).json(), "is_default": row.is_default}
