"""Customers at Stripe, and the methods attached to them."""

from __future__ import annotations

from billing.charging.ports import CustomerRequest, MethodDetails
from gateways.stripe.api import Refusal, StripeApi
from gateways.stripe.methods import details_of

_NOT_ATTACHED = ("resource_missing", "payment_method_unexpected_state")


def register(api: StripeApi, request: CustomerRequest) -> str:
    """Return the id of the customer. Name and email are set in a second call, because they may differ between two tries with one key."""
    mark = {"portal_customer": request.customer_id, "portal_business": request.business_id}
    made = api.call(api.v1.customers.create, {"metadata": mark}, key=request.key).object
    details = {"email": request.email} | ({"name": request.name} if request.name else {})
    api.call(api.v1.customers.update, made["id"], details)
    return str(made["id"])


def describe(api: StripeApi, method_reference: str) -> MethodDetails | None:
    """Return a method that is attached to a customer, None for one that was detached or does not exist."""
    try:
        method = api.call(api.v1.payment_methods.retrieve, method_reference).object
    except Refusal as refused:
        if refused.status == 404 or refused.code == "resource_missing":
            return None
        raise
    return details_of(method) if method.get("customer") else None


def forget(api: StripeApi, method_reference: str) -> None:
    """Detach the method: Stripe refuses every later charge of it."""
    try:
        api.call(api.v1.payment_methods.detach, method_reference)
    except Refusal as refused:
        if refused.code not in _NOT_ATTACHED and "not attached" not in str(refused):
            raise
