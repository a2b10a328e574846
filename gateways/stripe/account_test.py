"""Tests an account: a PaymentIntent without a payment method is made and cancelled. Its events carry the key in their metadata."""

from __future__ import annotations

from billing.charging.account_ports import TestPayment
from gateways.stripe import intents, metadata
from gateways.stripe.amounts import MINIMUM, from_stripe
from gateways.stripe.api import AccessDenied, KeyReused, Refusal, StripeApi, StripeObject, Unanswered

TEST = "test"
"""`portal_kind` of the intent of a test."""


def run(api: StripeApi, key: str, currency: str) -> TestPayment:
    """Raises Unanswered if it is not known whether an intent is open. Repeat the call then: the key finds the same intent."""
    try:
        intent = _create(api, key, currency)
    except AccessDenied as denied:
        return TestPayment(problem="key" if denied.status == 401 else "permission", message=str(denied))
    except Refusal as refused:
        return TestPayment(problem="refused", message=str(refused))
    amount = from_stripe(intent["amount"], intent["currency"])
    try:
        closed = intents.close(api, intent)
    except AccessDenied as denied:
        return TestPayment(intent["id"], amount, "left_open", str(denied))
    if closed["status"] != "canceled":
        return TestPayment(intent["id"], amount, "left_open", f"status {closed['status']}")
    return TestPayment(intent["id"], amount)


def _create(api: StripeApi, key: str, currency: str) -> StripeObject:
    """Return the intent of the test. Stripe repeats a stored error 500, so that the next suffix of the key is tried after one."""
    parameters = {
        "amount": MINIMUM.get(currency, 1_000_000),
        "currency": currency.lower(),
        "payment_method_types": ["card"],
        "description": "Test of the payment account. Nothing is charged.",
        "metadata": {metadata.KEY: key, metadata.KIND: TEST},
    }
    for n in range(1, intents.TRIES + 1):
        try:
            return api.call(api.v1.payment_intents.create, parameters, key=intents.numbered(key, n)).object
        except KeyReused as reused:
            raise Unanswered("the key of a test was used before") from reused
        except Unanswered as lost:
            if isinstance(lost, AccessDenied) or not lost.server_error:
                raise
            found = _find(api, key)
            if found is not None:
                return found
            if not lost.stored:
                raise
    raise Unanswered("Stripe stored an error for every key")


def _find(api: StripeApi, key: str) -> StripeObject | None:
    """Return the intent of a test among the newest ones. It has no customer, so that it can only be found in the list of all."""
    newest = api.call(api.v1.payment_intents.list, {"limit": 100}).object["data"]
    return next((item for item in newest if metadata.read(item) == key), None)
