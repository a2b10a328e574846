"""Customers at Stripe, and the methods attached to them."""

from __future__ import annotations

from billing.charging.ports import CustomerRequest
from gateways.stripe.api import Refusal, StripeApi

_NOT_ATTACHED = ("resource_missing", "payment_method_unexpected_state")


def register(api: StripeApi, request: CustomerRequest) -> str:
    """Return the id of the customer. Name and email are set in a second call, because they may differ between two tries with one key."""
    mark = {"portal_customer": request.customer_id, "portal_business": request.business_id}
    made = api.call(api.v1.customers.create, {"metadata": mark}, key=request.key).object
    details = {"email": request.email} | ({"name": request.name} if request.name else {})
    api.call(api.v1.customers.update, made["id"], details)
    return str(made["id"])


def forget(api: StripeApi, method_reference: str) -> None:
    """Detach the method: Stripe refuses every later charge of it."""
    try:
        api.call(api.v1.payment_methods.detach, method_reference)
    except Refusal as refused:
        if refused.code not in _NOT_ATTACHED and "not attached" not in str(refused):
            raise
